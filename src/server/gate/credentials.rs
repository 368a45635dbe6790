//! Who makes a call, by what it comes with: a token, a login's cookie, a certificate, where it comes from.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use axum::http::{HeaderValue, Request, header::AUTHORIZATION};

use super::{Gate, Refusal, take};
use crate::{
    config::Digest,
    server::{Peer, caller::Caller},
};

/// What a call tells of who makes it. Who looks for hours is settled again and again.
#[derive(Clone)]
pub(in crate::server) struct Credentials {
    pub(super) caller: Arc<Caller>,
    authorization: Option<HeaderValue>,
    /// A login's cookie.
    login: Option<Digest>,
}

impl Credentials {
    /// Whether a login's cookie is what counts.
    pub(in crate::server) fn is_login(&self) -> bool {
        self.authorization.is_none() && self.login.is_some()
    }
}

impl Gate {
    /// What `request` tells of who makes it.
    pub(in crate::server) fn credentials<T>(
        &self,
        request: &Request<T>,
    ) -> Result<Credentials, Refusal> {
        let Some(caller) = request.extensions().get::<Arc<Caller>>() else {
            let why = "nobody knows where this call comes from".to_owned();
            return Err(Refusal::Unauthenticated(why));
        };
        let headers = request.headers();
        Ok(Credentials {
            caller: Arc::clone(caller),
            authorization: headers.get(AUTHORIZATION).cloned(),
            login: self.logins.sent(headers, caller.is_encrypted),
        })
    }

    /// Who calls, as things stand now. `Err`: what is missing.
    pub(in crate::server) fn settle(&self, credentials: &Credentials) -> Result<Peer, String> {
        let Credentials {
            caller,
            authorization,
            login,
        } = credentials;
        let (security, now) = (self.security(), SystemTime::now());
        let token = login
            .filter(|_| authorization.is_none())
            .map(|login| self.logins.token(&login, Instant::now()));
        match token {
            Some(Some(token)) => security.rules.settle_login(caller, &token, now),
            Some(None) => security.rules.settle(caller, None, now).map_err(|_| {
                "the login is over: log in again, with a token from the operator".to_owned()
            }),
            None => {
                let authorization = authorization.as_ref().map(HeaderValue::as_bytes);
                security.rules.settle(caller, authorization, now)
            }
        }
    }

    /// Somebody shows a token. The header that gives a cookie for it.
    pub(in crate::server) fn log_in(
        &self,
        credentials: &Credentials,
        token: &str,
    ) -> Result<String, Refusal> {
        let caller = &credentials.caller;
        take(&self.tries, caller)?;
        let token = Digest::of(token.trim());
        let settled = self
            .security()
            .rules
            .settle_login(caller, &token, SystemTime::now());
        let peer = settled.map_err(Refusal::Unauthenticated)?;
        tracing::info!(from = %caller.origin, %peer, "logged in to the page");
        Ok(self.logins.open(token, caller.is_encrypted, Instant::now()))
    }

    /// A login is over. The header that takes its cookie away.
    pub(in crate::server) fn log_out(&self, credentials: &Credentials) -> String {
        // Who has none sends nothing that is one.
        let login = credentials.login.unwrap_or_else(|| Digest::of(""));
        self.logins.close(&login, credentials.caller.is_encrypted)
    }
}
