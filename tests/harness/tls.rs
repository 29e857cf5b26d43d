//! Certificates for servers that tests start.

/// A certificate authority and the certificate of one server, all as PEM.
pub struct Certificates {
    /// The authority's certificate.
    pub ca: String,
    /// The server's certificate.
    pub certificate: String,
    /// The server's private key.
    pub key: String,
}

impl Certificates {
    /// Makes a certificate for a server with this name or address.
    pub fn of(host: &str) -> Self {
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new([]).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut server = rcgen::CertificateParams::new([host.to_owned()]).unwrap();
        // With the authority's name, OpenSSL would consider the certificate self-signed.
        server
            .distinguished_name
            .push(rcgen::DnType::CommonName, host);
        let certificate = server.signed_by(&key, &issuer).unwrap();
        Self {
            ca: ca_certificate.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}
