use std::fs;

use super::*;

fn sum(bytes: &[u8]) -> Sum {
    Sum { bytes: bytes.len() as u64, sha256: Sha256::digest(bytes).into() }
}

async fn put(sink: &mut Sink, order: Order) -> Option<Result<Stored, Failure>> {
    let mut waiting = Some(order);
    let outcome = sink.advance(&mut waiting).await;
    assert!(outcome.is_some() || waiting.is_none());
    outcome
}

async fn end(sink: &mut Sink) -> Result<Stored, Failure> {
    sink.advance(&mut None).await.expect("nothing waits, so this is the end")
}

async fn store(place: &Place, hint: &str, bytes: &'static [u8]) -> Result<Stored, Failure> {
    let mut sink = Sink::start(place, hint)?;
    for piece in bytes.chunks(3) {
        if let Some(early) = put(&mut sink, Order::Write(Bytes::from_static(piece))).await {
            return early;
        }
    }
    match put(&mut sink, Order::Finish(sum(bytes))).await {
        Some(early) => early,
        None => end(&mut sink).await,
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_file_is_replaced_whole_and_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("a"), folder.path().join("b"));
    fs::write(&path, "old").unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let place = Place::of(Some(&link)).unwrap();
    let stored = store(&place, "ignored", b"the new bytes").await.unwrap();
    assert_eq!(stored.sum, sum(b"the new bytes"));
    assert_eq!(fs::read(&path).unwrap(), b"the new bytes");
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(names(folder.path()), ["a", "b"]);
}

#[tokio::test]
async fn a_folder_gets_new_names_and_nothing_in_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::of(Some(folder.path())).unwrap();
    for (hint, name) in [("x.tar", "x.tar"), ("../x.tar", "x-1.tar"), ("", "received")] {
        let stored = store(&place, hint, b"bytes").await.unwrap();
        assert_eq!(stored.path, Some(folder.path().join(name)));
    }
    assert_eq!(names(folder.path()), ["received", "x-1.tar", "x.tar"]);
}

#[tokio::test]
async fn a_wrong_sum_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::of(Some(&folder.path().join("a"))).unwrap();
    let mut sink = Sink::start(&place, "").unwrap();
    assert!(put(&mut sink, Order::Write(Bytes::from_static(b"other"))).await.is_none());
    put(&mut sink, Order::Finish(sum(b"bytes"))).await;
    assert_eq!(end(&mut sink).await.unwrap_err().status, Status::Mismatch);
    sink.abandon().await;
    assert_eq!(names(folder.path()), [""; 0]);
}

#[tokio::test]
async fn abandoning_leaves_no_file_and_the_old_one_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "old").unwrap();
    let mut sink = Sink::start(&Place::of(Some(&path)).unwrap(), "").unwrap();
    put(&mut sink, Order::Write(Bytes::from_static(b"new"))).await;
    assert_eq!(names(folder.path()).len(), 2);
    sink.abandon().await;
    assert_eq!(names(folder.path()), ["a"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[tokio::test]
async fn a_full_device_is_no_space_and_stays_a_device() {
    let path = Path::new("/dev/full");
    let place = Place::of(Some(path)).unwrap();
    assert_eq!(place, Place::Device(path.to_owned()));
    assert_eq!(store(&place, "", b"bytes").await.unwrap_err().status, Status::NoSpace);
    assert!(!path.metadata().unwrap().is_file());
}

#[tokio::test]
async fn a_device_takes_the_bytes() {
    let place = Place::of(Some(Path::new("/dev/null"))).unwrap();
    let stored = store(&place, "", b"bytes").await.unwrap();
    assert_eq!(stored, Stored { sum: sum(b"bytes"), path: None });
}

#[test]
fn a_missing_folder_is_told_before_anything_is_received() {
    let folder = tempfile::tempdir().unwrap();
    let failure = Place::of(Some(&folder.path().join("no/a"))).unwrap_err();
    assert_eq!(failure.status, Status::Output);
    assert_eq!(Place::of(None), Ok(Place::Folder(PathBuf::from("."))));
    assert_eq!(Place::of(Some(Path::new("-"))), Ok(Place::Stdout));
}

#[test]
fn hints_lead_out_of_no_folder() {
    for (hint, name) in [
        ("/etc/passwd", "passwd"),
        ("..", "received"),
        ("a/..", "received"),
        ("C:\\x\\y.txt", "y.txt"),
        (".ssh", "ssh"),
        ("-rf", "rf"),
        ("a\u{1b}[31m\n", "a[31m"),
        ("", "received"),
    ] {
        assert_eq!(harmless(hint), name, "{hint:?}");
    }
    assert_eq!(harmless(&"ü".repeat(300)).len(), NAME_MAX);
}
