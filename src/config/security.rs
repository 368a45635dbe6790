//! `[tls]` and `[auth]`: who may come in, and how far.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    Listen, Role, Settings,
    check::{SettingsError, in_range, wrong},
};

/// How `tls://` addresses prove who they are, and whose certificates they take. PEM files; read again on reload.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// The server's certificate, and after it those that lead to its CA.
    pub certificate: Option<PathBuf>,
    /// Its private key: no other user of the machine may read it.
    pub key: Option<PathBuf>,
    /// The CA that clients' certificates must come from.
    pub client_ca: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub client: ClientCertificates,
}

/// Whether clients of a `tls://` address are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum ClientCertificates {
    /// They are not: tokens say who calls.
    #[default]
    None,
    /// Those who have one may use it.
    Optional,
    /// Nobody comes in without one.
    Required,
}

/// Who calls, and what each may do.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSettings {
    /// The key file: tokens and certificates with a name and a role each; see [`KeyFile`](super::KeyFile). Read again on reload.
    pub tokens: Option<PathBuf>,
    /// Callers without a token on `tcp://`: this machine's users, and with `insecure = true` everybody, from other machines as infer
    /// at most.
    pub loopback: Grant,
    /// Users of a unix socket without a token. Root and the daemon's own user are admin.
    pub unix: Grant,
    /// Clients whose certificate comes from `tls.client_ca` and is not in the key file.
    pub certificates: Grant,
    /// Users of a unix socket who are admin: `alice`, `1000` or, for a group, `%cellseg-admins`, `%1000`.
    pub admins: Vec<String>,
    /// What the role infer is held to.
    pub infer: RoleLimits,
    /// What the role admin is held to.
    pub admin: RoleLimits,
}

/// A role, or none: whoever has none is asked for a token.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Grant {
    /// Nothing without a token.
    None,
    /// See [`Role::Observe`].
    Observe,
    /// See [`Role::Infer`].
    Infer,
    /// See [`Role::Admin`].
    Admin,
}

/// What a role is held to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleLimits {
    /// The highest priority that a session gets; one that asks for more is opened with this.
    pub priority: PriorityCap,
    /// Sessions of one peer at the same time.
    pub sessions: usize,
}

/// The highest priority that is granted.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum PriorityCap {
    /// Re-analysis.
    Background,
    /// An experiment.
    Normal,
    /// A closed loop.
    Urgent,
}

impl Default for AuthSettings {
    fn default() -> Self {
        AuthSettings {
            tokens: None,
            loopback: Grant::Infer,
            unix: Grant::Infer,
            certificates: Grant::None,
            admins: Vec::new(),
            infer: RoleLimits::default(),
            admin: RoleLimits::default(),
        }
    }
}

impl Default for RoleLimits {
    fn default() -> Self {
        RoleLimits {
            priority: PriorityCap::Urgent,
            sessions: 16,
        }
    }
}

impl Grant {
    /// None: a token is needed.
    pub fn role(self) -> Option<Role> {
        match self {
            Grant::None => None,
            Grant::Observe => Some(Role::Observe),
            Grant::Infer => Some(Role::Infer),
            Grant::Admin => Some(Role::Admin),
        }
    }
}

impl TlsSettings {
    pub(super) fn check<'a>(
        &self,
        mut listens: impl Iterator<Item = &'a Listen>,
    ) -> Result<(), SettingsError> {
        if self.certificate.is_some() != self.key.is_some() {
            let (key, other) = match self.certificate {
                Some(_) => ("tls.certificate", "tls.key"),
                None => ("tls.key", "tls.certificate"),
            };
            return Err(wrong(key, "a file", format!("needs {other} too")));
        }
        if let Some(listen) = listens.find(|listen| matches!(listen, Listen::Tls(_)))
            && self.certificate.is_none()
        {
            return Err(wrong(
                "listen",
                listen,
                "needs tls.certificate and tls.key: 'cellsegd pair NAME' makes both and says what to write",
            ));
        }
        match (&self.client_ca, self.client) {
            (None, ClientCertificates::Optional | ClientCertificates::Required) => Err(wrong(
                "tls.client",
                self.client,
                "needs tls.client_ca: the CA that clients' certificates come from",
            )),
            (Some(path), ClientCertificates::None) => Err(wrong(
                "tls.client_ca",
                path.display(),
                "is used only with tls.client = \"optional\" or \"required\"",
            )),
            _ => Ok(()),
        }
    }
}

impl AuthSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        in_range("auth.infer.sessions", self.infer.sessions, 1..=65_535)?;
        in_range("auth.admin.sessions", self.admin.sessions, 1..=65_535)
    }
}

impl Settings {
    /// Addresses that other machines can reach without TLS.
    pub fn exposed(&self) -> impl Iterator<Item = &Listen> {
        let open = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
        self.listen
            .iter()
            .chain(&self.http)
            .filter(move |listen| matches!(listen, Listen::Tcp(address) if open(address)))
    }
}
