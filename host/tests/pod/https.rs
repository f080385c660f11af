//! The second way in: the same frames over HTTPS, with an API key.

use super::{
    host::{API_KEY, Connection, Host},
    whole_life,
};
use pinacle_host::{
    frame::FrameReader,
    protocol::{Command, Reply},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

type Tls = TlsStream<TcpStream>;

/// Asks for the frames with this header; gives the answer's status line and the stream.
async fn knock(host: &Host, header: &str) -> (String, Tls) {
    let pem = host.text("cat $1", &[&format!("/var/lib/pinacle/test-{}/cert.pem", host.https_port() - 8440)]).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let socket = TcpStream::connect((host.address(), host.https_port())).await.unwrap();
    let mut tls = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("host.test").unwrap(), socket).await.unwrap();
    let request = format!("GET /v1/frames HTTP/1.1\r\nHost: host.test\r\nConnection: upgrade\r\nUpgrade: pinacle\r\n{header}\r\n");
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tls.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    (head.lines().next().unwrap().to_owned(), tls)
}

async fn connect(host: &Host) -> Connection<ReadHalf<Tls>, WriteHalf<Tls>> {
    let (status, tls) = knock(host, &format!("Authorization: Bearer {API_KEY}\r\n")).await;
    assert_eq!(status, "HTTP/1.1 101 Switching Protocols");
    let (input, output) = split(tls);
    Connection { input: FrameReader::new(input), output, installation: host.installation, asked: String::new(), _gate: None }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let Some(host) = Host::start(13).await else { return };
    let (mut silent, mut over_https, mut waiting) = (host.connect().await, connect(&host).await, connect(&host).await);
    // Half a frame is none.
    over_https.output.write_all(&[0, 0]).await.unwrap();
    over_https.output.flush().await.unwrap();
    let asked = |plane| matches!(plane, Reply::Inventory(_));
    assert!(asked(waiting.ask(Command::Inventory).await));
    assert!(silent.frame().await.is_none());
    // TLS calls an end without a goodbye an error.
    let end = timeout(Duration::from_secs(30), over_https.input.next()).await.expect("an end in time");
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    // One that has asked once may take its time.
    assert!(asked(waiting.ask(Command::Inventory).await));
    host.end().await;
}

#[tokio::test]
async fn the_whole_life_of_a_pod_over_https_with_the_key_and_nothing_without() {
    let Some(host) = Host::start(5).await else { return };
    for header in ["", "x-api-key: wrong\r\n", &format!("x-api-key: {API_KEY}0\r\n"), "Authorization: Bearer \r\n"] {
        assert_eq!(knock(&host, header).await.0, "HTTP/1.1 401 Unauthorized", "{header:?}");
    }
    assert_eq!(knock(&host, &format!("x-api-key: {API_KEY}\r\n")).await.0, "HTTP/1.1 101 Switching Protocols");
    whole_life(&host, || connect(&host)).await;
    host.end().await;
}
