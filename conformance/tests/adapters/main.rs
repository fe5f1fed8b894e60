//! Every scenario, with each adapter against itself and against each other.

mod on_mio;
mod on_tokio;

use headwater_conformance::suite;
use on_mio::OnMio;
use on_tokio::OnTokio;

suite!(tokio_with_tokio, OnTokio, OnTokio);
suite!(mio_with_mio, OnMio, OnMio);
suite!(tokio_with_mio, OnTokio, OnMio);
suite!(mio_with_tokio, OnMio, OnTokio);
