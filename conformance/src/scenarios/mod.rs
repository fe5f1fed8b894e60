//! The scenarios. Each is generic over two adapters and panics if something is not as it should
//! be; [`suite!`](crate::suite) makes tests of them.

pub mod dial;
pub mod exchange;
