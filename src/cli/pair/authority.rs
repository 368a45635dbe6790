//! The CA and the server's certificate: kept if they are there and fit, made if not.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use crate::config::{Digest, Readers, refuse_open, write_private};

/// Years until a certificate ends: longer than a microscope's PC lives, and nobody watches over it.
const YEARS: i32 = 10;

/// A certificate that ends sooner than this is made anew: time enough for the next reload.
const AHEAD: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a client has to trust, and what the server shows.
pub(super) struct Made {
    /// The CA's certificate.
    pub(super) ca: PathBuf,
    /// Its SHA-256, as `openssl x509 -fingerprint -sha256` counts it.
    pub(super) fingerprint: Digest,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// Names and addresses that the certificate is good for.
    pub(super) hosts: Vec<String>,
    /// Whether the certificate is new.
    pub(super) is_new: bool,
}

/// Makes what is missing in `dir`. `hosts`: what the certificate must be good for; empty: this machine's names, for a new one.
pub(super) fn settle(dir: &Path, hosts: &[String]) -> Result<Made> {
    let [ca, ca_key, certificate, key, names] = [
        "ca.pem",
        "ca-key.pem",
        "server.pem",
        "server-key.pem",
        "hosts",
    ]
    .map(|name| dir.join(name));
    let issuer = settle_ca(&ca, &ca_key)?;
    let fingerprint = Digest::of(read_certificate(&ca)?);
    let known: Vec<String> = match fs::read_to_string(&names) {
        Ok(text) if certificate.exists() && key.exists() => {
            text.lines().map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    let is_good = !known.is_empty()
        && hosts.iter().all(|host| known.contains(host))
        && is_trusted(&certificate, &ca, &known, SystemTime::now() + AHEAD)?;
    let hosts = match (is_good, known.is_empty() && hosts.is_empty()) {
        (true, _) => known,
        (false, true) => of_this_machine(),
        // Another certificate for one that is in use: the names that it had stay good.
        (false, false) => {
            let new = hosts.iter().filter(|host| !known.contains(host)).cloned();
            known.iter().cloned().chain(new).collect()
        }
    };
    if !is_good {
        for host in &hosts {
            ServerName::try_from(host.as_str())
                .map_err(|_| anyhow::anyhow!("{host:?} must be a host name or an IP address"))?;
        }
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::new(hosts.clone())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "cellsegd");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(this_year() + YEARS, 12, 31);
        let signed = params.signed_by(&pair, &issuer)?;
        write(&key, &pair.serialize_pem(), Readers::Daemon)?;
        write(&certificate, &signed.pem(), Readers::Daemon)?;
        write(&names, &(hosts.join("\n") + "\n"), Readers::Daemon)?;
    }
    Ok(Made {
        ca,
        fingerprint,
        certificate,
        key,
        hosts,
        is_new: !is_good,
    })
}

/// Whether a client that trusts `ca` takes the server's certificate at `then`, by each name.
fn is_trusted(certificate: &Path, ca: &Path, hosts: &[String], then: SystemTime) -> Result<bool> {
    let certificate = read_certificate(certificate)?;
    let mut roots = RootCertStore::empty();
    roots
        .add(read_certificate(ca)?)
        .with_context(|| format!("{}: not a CA's certificate", ca.display()))?;
    let provider = Arc::new(ring::default_provider());
    let client = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
    let then = UnixTime::since_unix_epoch(then.duration_since(UNIX_EPOCH)?);
    Ok(hosts.iter().all(|host| {
        ServerName::try_from(host.as_str()).is_ok_and(|name| {
            let verified = client.verify_server_cert(&certificate, &[], &name, &[], then);
            verified.is_ok()
        })
    }))
}

fn settle_ca(ca: &Path, ca_key: &Path) -> Result<Issuer<'static, KeyPair>> {
    match (ca.exists(), ca_key.exists()) {
        (true, true) => {
            refuse_open(ca_key)?;
            let text = fs::read_to_string(ca_key).with_context(|| ca_key.display().to_string())?;
            let pair = KeyPair::from_pem(&text).with_context(|| ca_key.display().to_string())?;
            Ok(Issuer::new(ca_params(&pair), pair))
        }
        (true, false) => anyhow::bail!(
            "{} is there without {}: it is not ours to sign with; use certificates of your own, or another --dir",
            ca.display(),
            ca_key.display()
        ),
        (false, _) => {
            let pair = KeyPair::generate()?;
            let params = ca_params(&pair);
            let certificate = params.self_signed(&pair)?;
            write(ca_key, &pair.serialize_pem(), Readers::Owner)?;
            write(ca, &certificate.pem(), Readers::Daemon)?;
            Ok(Issuer::new(params, pair))
        }
    }
}

/// Follows from the key alone, so that it need not be read out of the certificate.
fn ca_params(pair: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = Digest::of(pair.subject_public_key_info()).to_string();
    let name = format!("cellsegd CA {}", &id[..8]);
    params.distinguished_name.push(DnType::CommonName, name);
    // It signs servers' certificates and nothing below them.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(this_year() + YEARS, 12, 31);
    params
}

/// By the mean length of a year: a day more or less does not matter here.
fn this_year() -> i32 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    1970 + since_1970.map_or(0, |time| (time.as_secs() / 31_556_952) as i32)
}

/// Its name, its addresses, and loopback for tunnels.
fn of_this_machine() -> Vec<String> {
    let mut hosts = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    if ServerName::try_from(name.as_ref()).is_ok() && !hosts.iter().any(|host| *host == name) {
        hosts.push(name.into_owned());
    }
    let [v4, v6] = ["/proc/net/fib_trie", "/proc/net/if_inet6"]
        .map(|path| fs::read_to_string(path).unwrap_or_default());
    let addresses = local_v4(&v4).chain(local_v6(&v6));
    for address in addresses.map(|address| address.to_string()) {
        if !hosts.contains(&address) {
            hosts.push(address);
        }
    }
    hosts
}

/// The kernel's own addresses out of its routing table: a line with the address, then one with `/32 host LOCAL`.
fn local_v4(fib_trie: &str) -> impl Iterator<Item = IpAddr> {
    let lines = fib_trie.lines().zip(fib_trie.lines().skip(1));
    lines.filter_map(|(address, kind)| {
        let address: Ipv4Addr = address.trim().strip_prefix("|-- ")?.parse().ok()?;
        let is_ours = kind.trim() == "/32 host LOCAL" && !address.is_loopback();
        is_ours.then_some(IpAddr::V4(address))
    })
}

/// 32 hex digits begin each line; those of one link only are no use in a certificate.
fn local_v6(if_inet6: &str) -> impl Iterator<Item = IpAddr> {
    if_inet6.lines().filter_map(|line| {
        let digits = line.split(' ').next()?;
        let address = Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?);
        let is_useful = !address.is_loopback() && !address.is_unicast_link_local();
        is_useful.then_some(IpAddr::V6(address))
    })
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>> {
    CertificateDer::from_pem_file(path)
        .map_err(|error| anyhow::anyhow!("{}: no certificate in PEM: {error}", path.display()))
}

fn write(path: &Path, text: &str, readers: Readers) -> Result<()> {
    write_private(path, text.as_bytes(), readers)
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_addresses_are_read_from_the_kernel() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 127.0.0.1\n        \
                    /32 host LOCAL\n     |-- 192.168.7.2\n        /32 host LOCAL\n     |-- 192.168.7.255\n        /32 link BROADCAST\n";
        let found: Vec<String> = local_v4(trie).map(|address| address.to_string()).collect();
        assert_eq!(found, ["192.168.7.2"]);
        let six = "00000000000000000000000000000001 01 80 10 80       lo\n\
                   fe800000000000000000000000000001 02 40 20 80     eth0\n\
                   20010db8000000000000000000000005 02 40 00 80     eth0\n";
        let found: Vec<String> = local_v6(six).map(|address| address.to_string()).collect();
        assert_eq!(found, ["2001:db8::5"]);
    }

    #[test]
    fn what_is_there_is_kept_and_new_hosts_are_added() {
        let folder = tempfile::tempdir().unwrap();
        let settle = |hosts: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(|host| host.to_string()).collect();
            settle(folder.path(), &hosts)
        };
        let first = settle(&["scope", "10.0.0.1"]).unwrap();
        assert!(first.is_new);
        let kept = settle(&["scope"]).unwrap();
        assert_eq!((kept.is_new, &kept.hosts), (false, &first.hosts));
        assert!(!settle(&[]).unwrap().is_new);
        let wider = settle(&["10.0.0.2"]).unwrap();
        assert!(wider.is_new && wider.hosts == ["scope", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(
            wider.fingerprint, first.fingerprint,
            "clients go on trusting it"
        );
        // By another CA than the one that clients trust; it has ended.
        for (days, is_kept) in [(365, true), (365 * 11, false)] {
            let then = SystemTime::now() + Duration::from_secs(days * 24 * 3600);
            let trusted = is_trusted(&wider.certificate, &wider.ca, &wider.hosts, then).unwrap();
            assert_eq!(trusted, is_kept, "in {days} days");
        }
        let other = tempfile::tempdir().unwrap();
        let other = super::settle(other.path(), &wider.hosts).unwrap();
        fs::copy(&other.certificate, &wider.certificate).unwrap();
        let made = settle(&[]).unwrap();
        assert!(made.is_new && made.hosts == wider.hosts);
        let error = settle(&["a b"]).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("\"a b\" must be a host name"), "{error}");
        fs::remove_file(folder.path().join("ca-key.pem")).unwrap();
        let error = settle(&[]).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("is there without"), "{error}");
    }
}
