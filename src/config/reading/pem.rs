//! Settings that name PEM files (RFC 7468); the files are read once to see that they hold what they should.

use std::path::PathBuf;

use figment::value::Value;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::description::SettingType;
use super::field::Read;
use super::invalid_value::InvalidValue;
use super::reader::SettingsReader;

/// Reads and checks a file, then keeps its name.
fn checked_file(
    value: &Value,
    path: &str,
    reader: &mut SettingsReader,
    kind: &SettingType,
    check: impl FnOnce(&[u8]) -> Result<(), &'static str>,
) -> Option<PathBuf> {
    const MOST: u64 = 1024 * 1024;
    let unreadable = reader.unreadable(value.as_str().unwrap_or_default());
    let file = value.as_str().map(|name| reader.source(name)).unwrap_or_default();
    reader.parse(value, path, kind, |_| {
        let metadata = std::fs::metadata(&file).map_err(&unreadable)?;
        if !metadata.is_file() || metadata.len() > MOST {
            return Err(InvalidValue::new("is not a PEM file", "name a regular file of at most 1 MiB"));
        }
        check(&std::fs::read(&file).map_err(&unreadable)?)?;
        Ok(file)
    })
}

/// A PEM file of certificates that exists and parses.
#[derive(Clone, Debug)]
pub(in crate::config) struct CertificateFile(pub(in crate::config) PathBuf);

impl Read for CertificateFile {
    const KIND: &'static SettingType = &SettingType::Text("the name of a PEM file of certificates");

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        checked_file(value, path, reader, Self::KIND, |bytes| {
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
            match certificates.as_deref() {
                Ok([_, ..]) => Ok(()),
                _ => Err("the file holds no certificates in PEM form: write the name of one that does"),
            }
        })
        .map(Self)
    }
}

/// A PEM file of a private key that exists and parses.
#[derive(Clone, Debug)]
pub(in crate::config) struct KeyFile(pub(in crate::config) PathBuf);

impl Read for KeyFile {
    const KIND: &'static SettingType = &SettingType::Text("the name of a PEM file of a private key");

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        checked_file(value, path, reader, Self::KIND, |bytes| {
            PrivateKeyDer::from_pem_slice(bytes)
                .map(|_| ())
                .map_err(|_| "the file holds no private key in PEM form: write the name of one that does")
        })
        .map(Self)
    }
}
