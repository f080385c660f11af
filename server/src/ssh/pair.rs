//! A new key pair, for what is not ours to reach: a pod's git.

use rand::RngCore;
use russh::keys::ssh_key::{LineEnding, PrivateKey, private::Ed25519Keypair};
use zeroize::Zeroizing;

pub struct Pair {
    /// A line of `authorized_keys`, without a comment.
    pub public: String,
    /// OpenSSH's own format.
    pub private: Zeroizing<String>,
}

/// Ed25519.
pub fn generate() -> Result<Pair, russh::keys::ssh_key::Error> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(seed.as_mut_slice());
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    Ok(Pair { public: key.public_key().to_openssh()?, private: key.to_openssh(LineEnding::LF)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_of_a_pair_belong_together_and_no_two_pairs_are_alike() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        let key = PrivateKey::from_openssh(one.private.as_bytes()).unwrap();
        assert_eq!(key.public_key().to_openssh().unwrap(), one.public);
        assert!(one.public.starts_with("ssh-ed25519 AAAA") && !one.public.ends_with(' '));
        assert_ne!(one.public, other.public);
    }
}
