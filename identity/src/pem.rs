//! The blocks of a PEM text (RFC 7468).

use p256::pkcs8::der::pem;
use zeroize::Zeroizing;

use crate::error::KeyError;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The length of a line of base64.
const LINE_LEN: usize = 64;

/// What a block says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// `PRIVATE KEY`: PKCS#8.
    Pkcs8,
    /// `EC PRIVATE KEY`: SEC1.
    Sec1,
    /// `RSA PRIVATE KEY`: PKCS#1.
    Pkcs1,
    /// `EC PARAMETERS`, which may stand before a SEC1 key.
    EcParameters,
    /// `ENCRYPTED PRIVATE KEY`.
    Encrypted,
    /// A private key of a type that is not supported.
    Unsupported(&'static str),
    /// Anything else.
    Other(String),
}

impl Label {
    fn new(label: &str) -> Self {
        match label {
            "PRIVATE KEY" => Self::Pkcs8,
            "EC PRIVATE KEY" => Self::Sec1,
            "EC PARAMETERS" => Self::EcParameters,
            "ENCRYPTED PRIVATE KEY" => Self::Encrypted,
            "RSA PRIVATE KEY" => Self::Pkcs1,
            "DSA PRIVATE KEY" => Self::Unsupported("DSA"),
            "SM2 PRIVATE KEY" => Self::Unsupported("SM2"),
            "OPENSSH PRIVATE KEY" => Self::Unsupported("OpenSSH"),
            other => Self::Other(other.chars().take(LINE_LEN).collect()),
        }
    }

    pub(crate) const fn is_private_key(&self) -> bool {
        matches!(
            self,
            Self::Pkcs8 | Self::Sec1 | Self::Pkcs1 | Self::Encrypted | Self::Unsupported(_)
        )
    }
}

/// One block; what it contains is wiped when it is dropped.
pub(crate) struct Block {
    label: Label,
    /// RFC 1421 headers say that it is encrypted.
    encrypted: bool,
    /// Its base64 without blanks.
    base64: Zeroizing<String>,
}

impl Block {
    pub(crate) const fn label(&self) -> &Label {
        &self.label
    }

    /// The block, if it is a plain private key of a form that is read.
    pub(crate) fn private_key(self) -> Result<Self, KeyError> {
        match &self.label {
            Label::Encrypted => Err(KeyError::Encrypted),
            Label::Pkcs8 | Label::Sec1 | Label::Pkcs1 if self.encrypted => Err(KeyError::Encrypted),
            Label::Pkcs8 | Label::Sec1 | Label::Pkcs1 => Ok(self),
            Label::Unsupported(found) => Err(KeyError::Unsupported { found: (*found).into() }),
            Label::EcParameters => Err(KeyError::Label { found: "EC PARAMETERS".into() }),
            Label::Other(found) => Err(KeyError::Label { found: found.clone() }),
        }
    }

    /// The bytes of the block.
    pub(crate) fn decode(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let lines = self.base64.len().div_ceil(LINE_LEN);
        let mut text = Zeroizing::new(String::with_capacity(self.base64.len() + lines + 64));
        text.push_str("-----BEGIN KEY-----\n");
        let mut rest = self.base64.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at_checked(LINE_LEN).unwrap_or((rest, ""));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str("-----END KEY-----\n");
        match pem::decode_vec(text.as_bytes()) {
            Ok((_, bytes)) => Ok(Zeroizing::new(bytes)),
            Err(_) => Err(KeyError::Malformed { what: "base64" }),
        }
    }
}

/// All blocks of a text, in order.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block>, KeyError> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Block)> = None;
    for line in text.lines().map(str::trim) {
        match (&mut open, boundary(line, BEGIN), boundary(line, END)) {
            (None, Some(label), _) => {
                // The text is longer than the block, so that no growing leaves copies behind.
                let base64 = Zeroizing::new(String::with_capacity(text.len()));
                open = Some((label, Block { label: Label::new(label), encrypted: false, base64 }));
            }
            (None, None, _) => {}
            (Some((label, _)), _, Some(end)) if *label == end => {
                blocks.extend(open.take().map(|(_, block)| block));
            }
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                return Err(KeyError::Malformed { what: "PEM: BEGIN and END do not match" });
            }
            (Some((_, block)), None, None) => match line.split_once(':') {
                Some((_, value)) => block.encrypted |= value.contains("ENCRYPTED"),
                None => block.base64.extend(line.split_whitespace()),
            },
        }
    }
    match open {
        Some(_) => Err(KeyError::Malformed { what: "PEM: END is missing" }),
        None if blocks.is_empty() => Err(KeyError::NoPem),
        None => Ok(blocks),
    }
}

fn boundary<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix(DASHES)
}

/// A PEM text of one block.
pub(crate) fn encode(label: &str, der: &[u8]) -> Result<Zeroizing<String>, KeyError> {
    let text = pem::encode_string(label, pem::LineEnding::LF, der);
    text.map(Zeroizing::new).map_err(|_| KeyError::Encode)
}
