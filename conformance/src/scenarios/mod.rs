//! The scenarios. Each is generic over two adapters and panics if something is not as it should
//! be; [`suite!`](crate::suite) makes tests of them.

pub mod attacks;
pub mod calls;
pub mod crowd;
pub mod dial;
pub mod exchange;
pub mod healing;
pub mod inside;
pub mod loss;
pub mod pressure;
pub mod recording;
pub mod secrecy;
pub mod stop;
pub mod streams;
