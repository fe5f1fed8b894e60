//! Every scenario, with each adapter against itself and against each other over TLS, and against
//! each other without security.

mod on_mio;
mod on_tokio;

use headwater_conformance::Security::{Insecure, Tls};
use headwater_conformance::{attacks, suite};
use on_mio::OnMio;
use on_tokio::OnTokio;

suite!(tokio_with_tokio, OnTokio(Tls), OnTokio(Tls));
suite!(mio_with_mio, OnMio(Tls), OnMio(Tls));
suite!(tokio_with_mio, OnTokio(Tls), OnMio(Tls));
suite!(mio_with_tokio, OnMio(Tls), OnTokio(Tls));
suite!(tokio_with_mio_insecure, OnTokio(Insecure), OnMio(Insecure));
suite!(mio_with_tokio_insecure, OnMio(Insecure), OnTokio(Insecure));

attacks!(attacks_on_tokio, OnTokio(Insecure), OnMio(Insecure));
attacks!(attacks_on_mio, OnMio(Insecure), OnTokio(Insecure));
