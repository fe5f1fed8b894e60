//! What has to hold whatever happens; each checker is fed what can be observed, and says when
//! something was not as promised.

pub(crate) mod ledger;
pub(crate) mod notices;
pub(crate) mod retries;
pub(crate) mod whole;
