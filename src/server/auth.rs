//! Who a caller is, and which role that gives.

use std::time::SystemTime;

use super::{
    Origin, Peer,
    caller::Caller,
    users::{Names, Users},
};
use crate::config::{AuthSettings, Digest, Key, KeyFile, Role, SettingsError};

/// How many characters of a certificate's fingerprint a person needs to tell it from others.
const SHORT_FINGERPRINT: usize = 12;

/// Who may what.
pub(super) struct Rules {
    settings: AuthSettings,
    keys: KeyFile,
    admins: Users,
    /// Of users of this machine, as they were when the rules were read.
    names: Names,
    /// The daemon's own user.
    own_uid: u32,
}

impl Rules {
    pub(super) fn new(settings: &AuthSettings, keys: KeyFile) -> Result<Self, SettingsError> {
        let admins = Users::read(&settings.admins).map_err(|right| SettingsError::Value {
            key: "auth.admins",
            value: settings.admins.join(", "),
            right,
        })?;
        Ok(Rules {
            keys,
            admins,
            names: Names::read(),
            ..Rules::without_files(settings)
        })
    }

    pub(super) fn without_files(settings: &AuthSettings) -> Self {
        Rules {
            settings: settings.clone(),
            keys: KeyFile::default(),
            admins: Users::default(),
            names: Names::default(),
            own_uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// Who calls. A token counts before a certificate, that before where the call comes from; a token that is wrong is never
    /// overlooked. `Err`: what is missing.
    pub(super) fn settle(
        &self,
        caller: &Caller,
        authorization: Option<&[u8]>,
        now: SystemTime,
    ) -> Result<Peer, String> {
        let (name, role) = match (authorization, caller.certificate) {
            (Some(authorization), _) => self.by_token(authorization, now)?,
            (None, Some(certificate)) => self.by_certificate(&certificate, now)?,
            (None, None) => self.by_origin(caller)?,
        };
        Ok(self.peer(name, role).of_connection(caller))
    }

    /// Who has logged in with the token of this hash: whatever that may do elsewhere, a login reads. `Err`: what is missing.
    pub(super) fn settle_login(
        &self,
        caller: &Caller,
        token: &Digest,
        now: SystemTime,
    ) -> Result<Peer, String> {
        let (name, role) = self.by_digest(token, now)?;
        let peer = self.peer(format!("the login with {name}"), role.min(Role::Observe));
        Ok(peer.of_connection(caller))
    }

    fn peer(&self, name: String, role: Role) -> Peer {
        let most = match role {
            Role::Admin => self.settings.admin,
            Role::Observe | Role::Infer => self.settings.infer,
        };
        Peer::new(name, role, most)
    }

    fn by_token(&self, authorization: &[u8], now: SystemTime) -> Result<(String, Role), String> {
        let token = std::str::from_utf8(authorization)
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or("the header authorization (metadata, in gRPC) must be: Bearer TOKEN")?;
        self.by_digest(&Digest::of(token), now)
    }

    fn by_digest(&self, token: &Digest, now: SystemTime) -> Result<(String, Role), String> {
        let key = find(&self.keys.tokens, token).ok_or(
            "this token is not known here: ask the operator for one ('cellsegd pair NAME' makes it)",
        )?;
        match key.is_expired(now) {
            true => Err(format!(
                "the token of {} has expired: ask the operator for a new one",
                key.name
            )),
            false => Ok((format!("token {}", key.name), key.role)),
        }
    }

    fn by_certificate(
        &self,
        certificate: &Digest,
        now: SystemTime,
    ) -> Result<(String, Role), String> {
        match find(&self.keys.certificates, certificate) {
            Some(key) if key.is_expired(now) => Err(format!(
                "the certificate of {} is no longer taken here: ask the operator",
                key.name
            )),
            Some(key) => Ok((format!("certificate {}", key.name), key.role)),
            None => {
                let fingerprint = certificate.to_string();
                match self.settings.certificates.role() {
                    Some(role) => {
                        let short = &fingerprint[..SHORT_FINGERPRINT];
                        Ok((format!("certificate {short}"), role))
                    }
                    None => Err(format!(
                        "the certificate with SHA-256 {fingerprint} has no role here, and no token was sent"
                    )),
                }
            }
        }
    }

    fn by_origin(&self, caller: &Caller) -> Result<(String, Role), String> {
        let name = self.names.describe(&caller.origin);
        let grant = match caller.origin {
            Origin::User { uid } => {
                if uid == 0 || uid == self.own_uid || self.admins.contain(uid, caller.gid) {
                    return Ok((name, Role::Admin));
                }
                self.settings.unix
            }
            Origin::Ip(_) if caller.is_encrypted => {
                return Err(
                    "a token is needed here, as the header (metadata, in gRPC) authorization: Bearer TOKEN ('cellsegd pair NAME' \
                     makes one), or a client certificate that the operator has named"
                        .to_owned(),
                );
            }
            Origin::Ip(_) => self.settings.loopback,
        };
        match grant.role() {
            // An address alone makes nobody of another machine an admin.
            Some(role) if caller.origin.is_remote() => Ok((name, role.min(Role::Infer))),
            Some(role) => Ok((name, role)),
            None => Err(format!(
                "{name} needs a token here, as the header (metadata, in gRPC) authorization: Bearer TOKEN ('cellsegd pair NAME' makes one)"
            )),
        }
    }
}

/// Looks at every key, whichever it is: time tells nothing.
fn find<'a>(keys: &'a [Key], digest: &Digest) -> Option<&'a Key> {
    keys.iter().fold(None, |found, key| {
        if key.sha256.is(digest) {
            Some(key)
        } else {
            found
        }
    })
}

#[cfg(test)]
mod tests;
