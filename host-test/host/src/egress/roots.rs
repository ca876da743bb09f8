//! Checks the certificate authorities that the environment names.
//!
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's authorities. A file that can't be read is
//! reported at the start: otherwise connections would fail later, with an error that does not name it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

const FILE: &str = "SSL_CERT_FILE";
const DIRECTORY: &str = "SSL_CERT_DIR";

/// What is wrong with the files that the environment names; `lookup` gives the value of a variable.
pub fn warnings(lookup: &dyn Fn(&str) -> Option<OsString>) -> Vec<String> {
    let mut found = Vec::new();
    let mut usable = 0;
    let mut is_set = false;
    if let Some(file) = lookup(FILE) {
        is_set = true;
        match certificates(Path::new(&file)) {
            Ok(number) => usable += number,
            Err(why) => found.push(format!("{FILE} {}: {why}", Path::new(&file).display())),
        }
    }
    if let Some(directories) = lookup(DIRECTORY) {
        for directory in
            std::env::split_paths(&directories).filter(|one| !one.as_os_str().is_empty())
        {
            is_set = true;
            match of_directory(&directory) {
                Ok(number) => usable += number,
                Err(why) => found.push(format!("{DIRECTORY} {}: {why}", directory.display())),
            }
        }
    }
    if is_set && usable == 0 {
        let last = "Mozilla's authorities are trusted in their place";
        match found.last_mut() {
            Some(line) => line.push_str(&format!("; {last}")),
            None => found.push(format!("{DIRECTORY} names no certificate: {last}")),
        }
    }
    found
}

/// How many certificates a file has.
fn certificates(path: &Path) -> Result<usize, String> {
    let content = fs::read(path).map_err(|error| error.to_string())?;
    if content.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".to_owned());
    }
    // What a certificate is in its binary form begins so.
    if content.first() == Some(&0x30) {
        let shown = path.display();
        return Err(format!(
            "it is binary (DER) and has to be PEM: `openssl x509 -inform der -in {shown} -out \
             {shown}.pem`"
        ));
    }
    let usable = CertificateDer::pem_slice_iter(&content).filter(|one| {
        let mut roots = rustls::RootCertStore::empty();
        one.as_ref()
            .is_ok_and(|certificate| roots.add(certificate.clone()).is_ok())
    });
    match usable.count() {
        0 => Err(
            "it has no certificate: between -----BEGIN CERTIFICATE----- and -----END \
             CERTIFICATE----- there has to be one"
                .to_owned(),
        ),
        number => Ok(number),
    }
}

/// How many certificates the files of a directory have.
fn of_directory(directory: &Path) -> Result<usize, String> {
    let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    match files.filter_map(|file| certificates(&file).ok()).sum() {
        0 => Err("it has no file with a certificate".to_owned()),
        number => Ok(number),
    }
}

/// What to set where a certificate is not trusted; empty for other failures of TLS.
pub(crate) fn advice(failure: &str) -> String {
    let is_of_trust = ["UnknownIssuer", "BadSignature", "CaUsedAsEndEntity"];
    if !is_of_trust.iter().any(|kind| failure.contains(kind)) {
        return String::new();
    }
    match (std::env::var_os(FILE), std::env::var_os(DIRECTORY)) {
        (None, None) => format!(
            ": if the server's authority is your own, name the PEM file of its certificate in {FILE}"
        ),
        (Some(file), _) => format!(
            ": {FILE} {} has to have the certificate of its authority",
            Path::new(&file).display()
        ),
        (None, Some(directory)) => format!(
            ": {DIRECTORY} {} has to have the certificate of its authority",
            Path::new(&directory).display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &Path)]) -> Vec<String> {
        warnings(&|name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, path)| path.as_os_str().to_owned())
        })
    }

    #[test]
    fn errors_of_trust_say_what_to_set_and_others_do_not() {
        for (failure, expected) in [
            ("invalid peer certificate: UnknownIssuer", true),
            ("invalid peer certificate: BadSignature", true),
            (
                "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
                true,
            ),
            ("invalid peer certificate: Expired", false),
            ("invalid peer certificate: NotValidForName", false),
            ("received fatal alert: HandshakeFailure", false),
            ("Connection refused (os error 111)", false),
        ] {
            let advice = advice(failure);
            assert_eq!(
                advice.contains("SSL_CERT_"),
                expected,
                "{failure}: {advice}"
            );
            assert_eq!(advice.is_empty(), !expected);
        }
    }

    #[test]
    fn what_can_not_be_trusted_is_named_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let good = write("good.pem", certified.cert.pem().as_bytes());
        let missing = folder.path().join("missing.pem");
        for (path, expect) in [
            (missing.clone(), "No such file"),
            (folder.path().to_owned(), "Is a directory"),
            (write("empty.pem", b""), "it is empty"),
            (write("blank.pem", b" \n"), "it is empty"),
            (
                write("der.crt", certified.cert.der()),
                "`openssl x509 -inform der",
            ),
            (
                write("text.pem", b"no certificate\n"),
                "it has no certificate",
            ),
            (
                write("key.pem", certified.signing_key.serialize_pem().as_bytes()),
                "it has no certificate",
            ),
            (
                write(
                    "cut.pem",
                    b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                ),
                "it has no certificate",
            ),
        ] {
            let told = told(&[(FILE, &path)]);
            let [line] = told.as_slice() else {
                panic!("{told:?}");
            };
            assert!(line.starts_with(&format!("{FILE} {}: ", path.display())));
            assert!(line.contains(expect), "{line}");
            assert!(line.ends_with("Mozilla's authorities are trusted in their place"));
        }
        assert!(told(&[]).is_empty());
        assert!(told(&[(FILE, &good)]).is_empty());
        assert!(told(&[(DIRECTORY, folder.path())]).is_empty());
        let nothing = tempfile::tempdir().unwrap();
        let told_of = told(&[(FILE, &good), (DIRECTORY, nothing.path())]);
        assert_eq!(told_of.len(), 1, "{told_of:?}");
        assert!(!told_of[0].contains("Mozilla"), "{told_of:?}");
        assert!(told(&[(DIRECTORY, &missing)])[0].contains("No such file"));
    }
}
