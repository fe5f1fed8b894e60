//! Puts tables into a page, between two marks.

const BEGIN: &str = "<!-- peers: begin -->\n";
const END: &str = "<!-- peers: end -->";

/// The page with what is between its marks replaced.
///
/// # Errors
///
/// If the page does not have each mark once, in order.
pub fn replace(page: &str, summary: &str) -> Result<String, &'static str> {
    let (before, rest) = page.split_once(BEGIN).ok_or("the page has no mark of the beginning")?;
    let (_, after) = rest.split_once(END).ok_or("the page has no mark of the end")?;
    if after.contains(BEGIN) || after.contains(END) {
        return Err("the page has its marks twice");
    }
    Ok(format!("{before}{BEGIN}{}\n{END}{after}", summary.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_marks_is_replaced() {
        let page = format!("a\n{BEGIN}old\n{END}\nb\n");
        let new = replace(&page, "new\n\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}new\n{END}\nb\n"));
        assert_eq!(replace(&new, "new").unwrap(), new, "again, the same");
    }

    #[test]
    fn a_page_without_marks_or_with_two_is_left_alone() {
        assert!(replace("a", "new").is_err());
        assert!(replace(BEGIN, "new").is_err());
        let twice = format!("{BEGIN}{END}").repeat(2);
        assert!(replace(&twice, "new").is_err());
    }
}
