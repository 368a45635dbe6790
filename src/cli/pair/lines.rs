//! What is printed: lines to paste.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{Pair, authority::Made};

/// How a daemon reads its files again.
pub(super) const RELOAD: &str = "systemctl reload cellsegd";

/// Everything that the operator and the controller's owner have to do.
pub(super) fn of(pair: &Pair, name: &str, made: &Made, token: &str, keys: &Path) -> Result<String> {
    let Made {
        ca,
        fingerprint,
        certificate,
        key,
        hosts,
        is_new,
    } = made;
    let pem = fs::read_to_string(ca).with_context(|| ca.display().to_string())?;
    let host = reachable(hosts);
    let (port, role) = (pair.port, pair.role);
    // IPv6 addresses are written in brackets beside a port.
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let at = format!("{host}:{port}");
    let certificate_is = match is_new {
        true => "new",
        false => "kept",
    };
    let (certificate, key, keys) = (certificate.display(), key.display(), keys.display());
    let good_for = hosts.join(", ");
    Ok(format!(
        r#"{name} has the role {role}. Its token is shown now and never again:

    {token}

1. On this machine, in /etc/cellsegd/cellsegd.toml: at its top

    listen = ["tcp://127.0.0.1:50051", "tls://0.0.0.0:{port}"]

   and under the tables [tls] and [auth], which stand there once:

    [tls]
    certificate = "{certificate}"
    key = "{key}"
    [auth]
    tokens = "{keys}"

   then, after a new address: systemctl restart cellsegd; otherwise: {RELOAD}
   The certificate ({certificate_is}) is good for: {good_for}

2. On the controller, two files. cellsegd-ca.pem (SHA-256 {fingerprint}):

{pem}
   and cellsegd-token.txt with the token, readable by its user alone.

3. Python (grpcio):

    import grpc
    tls = grpc.ssl_channel_credentials(open("cellsegd-ca.pem", "rb").read())
    token = grpc.access_token_call_credentials(open("cellsegd-token.txt").read().strip())
    channel = grpc.secure_channel("{at}", grpc.composite_channel_credentials(tls, token))

   C# (.NET 5 and newer, Grpc.Net.Client):

    var ca = X509Certificate2.CreateFromPem(File.ReadAllText("cellsegd-ca.pem"));
    var token = File.ReadAllText("cellsegd-token.txt").Trim();
    var handler = new SocketsHttpHandler();
    handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, chain, errors) => {{
        if ((errors & ~SslPolicyErrors.RemoteCertificateChainErrors) != 0) return false;
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(ca);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        return chain.Build((X509Certificate2)certificate);
    }};
    var bearer = CallCredentials.FromInterceptor((_, metadata) => {{
        metadata.Add("authorization", "Bearer " + token);
        return Task.CompletedTask;
    }});
    var channel = GrpcChannel.ForAddress("https://{at}", new GrpcChannelOptions {{
        HttpHandler = handler,
        Credentials = ChannelCredentials.Create(ChannelCredentials.SecureSsl, bearer),
    }});

   To try it (curl shows that TLS and the token are taken, grpcurl lists the services):

    printf '\0\0\0\0\0' | curl --cacert cellsegd-ca.pem --http2 -H "Authorization: Bearer $(cat cellsegd-token.txt)" \
      -H "Content-Type: application/grpc" -H "TE: trailers" --data-binary @- -o /dev/null -D - \
      https://{at}/cellseg.v1.Segmenter/ListModels
    grpcurl -cacert cellsegd-ca.pem -H "authorization: Bearer $(cat cellsegd-token.txt)" {at} list
    cellsegd segment --server tls://{at} --ca cellsegd-ca.pem --token-file cellsegd-token.txt --out cells FILE...

4. REST and the page, if other machines are to reach them: at the top of cellsegd.toml

    http = ["tcp://127.0.0.1:9464", "tls://0.0.0.0:9465"]

   and on the controller

    curl --cacert cellsegd-ca.pem -H "Authorization: Bearer $(cat cellsegd-token.txt)" \
      -F image=@FILE https://{host}:9465/v1/segment"#
    ))
}

/// The name that a controller most likely uses: not one of loopback.
fn reachable(hosts: &[String]) -> &str {
    let is_local = |host: &&String| ["localhost", "127.0.0.1", "::1"].contains(&host.as_str());
    let other = hosts.iter().find(|host| !is_local(host));
    other.or(hosts.first()).map_or("localhost", String::as_str)
}
