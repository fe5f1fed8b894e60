//! Every scenario, with each adapter against itself and tokio and mio against each other over TLS,
//! and those two against each other without security. smol meets the other two, and async-std
//! itself and everybody, in a part of them.

mod on_async_io;
mod on_mio;
mod on_runtime;
mod on_tokio;

use headwater_async_std::{AsyncStd, Smol};
use headwater_conformance::Security::{Insecure, Tls};
use headwater_conformance::{attacks, encounter, suite};
use on_async_io::OnAsyncIo;
use on_mio::OnMio;
use on_tokio::OnTokio;

suite!(tokio_with_tokio, OnTokio(Tls), OnTokio(Tls));
suite!(mio_with_mio, OnMio(Tls), OnMio(Tls));
suite!(smol_with_smol, OnAsyncIo(Tls, Smol), OnAsyncIo(Tls, Smol));
suite!(tokio_with_mio, OnTokio(Tls), OnMio(Tls));
suite!(mio_with_tokio, OnMio(Tls), OnTokio(Tls));
suite!(tokio_with_mio_insecure, OnTokio(Insecure), OnMio(Insecure));
suite!(mio_with_tokio_insecure, OnMio(Insecure), OnTokio(Insecure));

encounter!(smol_with_tokio, OnAsyncIo(Tls, Smol), OnTokio(Tls));
encounter!(tokio_with_smol_insecure, OnTokio(Insecure), OnAsyncIo(Insecure, Smol));
encounter!(mio_with_smol, OnMio(Tls), OnAsyncIo(Tls, Smol));
encounter!(smol_with_mio_insecure, OnAsyncIo(Insecure, Smol), OnMio(Insecure));

encounter!(async_std_with_async_std, OnAsyncIo(Tls, AsyncStd), OnAsyncIo(Tls, AsyncStd));
encounter!(smol_with_async_std_insecure, OnAsyncIo(Insecure, Smol), OnAsyncIo(Insecure, AsyncStd));
encounter!(tokio_with_async_std, OnTokio(Tls), OnAsyncIo(Tls, AsyncStd));
encounter!(async_std_with_mio, OnAsyncIo(Tls, AsyncStd), OnMio(Tls));

attacks!(attacks_on_tokio, OnTokio(Insecure), OnMio(Insecure));
attacks!(attacks_on_mio, OnMio(Insecure), OnTokio(Insecure));
attacks!(attacks_on_smol, OnAsyncIo(Insecure, Smol), OnMio(Insecure));
