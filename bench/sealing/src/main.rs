//! Seals, opens and re-wraps 10,000 secrets as the server does it, beside the bare cipher with one key for all of them: what a
//! key of its own for each row costs. One thread; the best of some rounds, since a busy machine only ever makes it slower.

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use clap::Parser;
use pinacle_server::{config::Cli, crypto::Sealer};
use rand::RngCore;
use std::{
    env,
    error::Error,
    time::{Duration, Instant},
};

const SECRETS: usize = 10_000;
const ROUNDS: usize = 5;
/// Bytes: a token, a key in PEM, the largest value.
const SIZES: [usize; 3] = [40, 1704, 64 << 10];

fn main() -> Result<(), Box<dyn Error>> {
    let [one, two] = [1, 2].map(|number| env::args().nth(number).ok_or("usage: pinacle-bench-sealing KEY-FILE FILE-OF-TWO-KEYS"));
    let (before, sealer) = (sealer(&one?)?, sealer(&two?)?);
    println!("| value | | seal | open | re-wrap |\n| --- | --- | --- | --- | --- |");
    for size in SIZES {
        let mut value = vec![0; size];
        rand::rng().fill_bytes(&mut value);
        let rows: Vec<Vec<u8>> = (0..SECRETS).map(|number| format!("secrets/{number}").into_bytes()).collect();
        let mut ours = [Duration::MAX; 3];
        let mut bare = [Duration::MAX; 2];
        for _ in 0..ROUNDS {
            let (took, sealed) = timed(|| rows.iter().map(|row| before.seal(row, &value)).collect::<Vec<_>>());
            ours[0] = ours[0].min(took);
            let (took, opened) =
                timed(|| rows.iter().zip(&sealed).filter(|(row, sealed)| before.open(row, sealed).is_ok_and(|v| *v == value)).count());
            assert_eq!(opened, SECRETS);
            ours[1] = ours[1].min(took);
            let (took, wrapped) =
                timed(|| rows.iter().zip(&sealed).filter(|(row, sealed)| matches!(sealer.rewrap(row, sealed), Ok(Some(_)))).count());
            assert_eq!(wrapped, SECRETS);
            ours[2] = ours[2].min(took);
            drop(sealed);
            let cipher = bare_cipher();
            let (took, sealed) = timed(|| rows.iter().map(|row| bare_seal(&cipher, row, &value)).collect::<Vec<_>>());
            bare[0] = bare[0].min(took);
            let open = |(row, (nonce, text)): (&Vec<u8>, &(XNonce, Vec<u8>))| {
                cipher.decrypt(nonce, Payload { msg: text, aad: row }).is_ok_and(|v| v == value)
            };
            let (took, opened) = timed(|| rows.iter().zip(&sealed).filter(|pair| open(*pair)).count());
            assert_eq!(opened, SECRETS);
            bare[1] = bare[1].min(took);
        }
        println!("| {size} bytes | Pinacle | {} | {} | {} |", each(ours[0]), each(ours[1]), each(ours[2]));
        println!("| | the bare cipher, one key | {} | {} | – |", each(bare[0]), each(bare[1]));
    }
    Ok(())
}

fn sealer(file: &str) -> Result<Sealer, Box<dyn Error>> {
    // The rest of what a server wants is not used.
    let none = ["--database-url", "postgres:none", "--ssh-key-file", "none", "--github-client-id", "none", "--github-client-secret", "none"];
    let arguments = ["pinacle-server", "keys", "rotate", "--master-key-file", file].into_iter().chain(none);
    Ok(Sealer::load(Cli::try_parse_from(arguments)?.command.config_mut())?)
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed(), done)
}

/// Milliseconds of all, and microseconds of one.
fn each(all: Duration) -> String {
    let ms = all.as_secs_f64() * 1e3;
    format!("{ms:.1} ms ({:.1} µs each)", ms * 1e3 / SECRETS as f64)
}

fn bare_cipher() -> XChaCha20Poly1305 {
    let mut key = [0; 32];
    rand::rng().fill_bytes(&mut key);
    XChaCha20Poly1305::new(&Key::from(key))
}

fn bare_seal(cipher: &XChaCha20Poly1305, row: &[u8], value: &[u8]) -> (XNonce, Vec<u8>) {
    let mut nonce = [0; 24];
    rand::rng().fill_bytes(&mut nonce);
    let nonce = XNonce::from(nonce);
    let text = cipher.encrypt(&nonce, Payload { msg: value, aad: row }).expect("short enough");
    (nonce, text)
}
