//! How much a team may keep, so that whatever a pod gets fits in one message to its host.
//!
//! A scope is what a team has for all of its pods, or for those of one repository. A pod gets at most two of them.

use super::store::Scope;
use pinacle_app::{AppError, ErrorCode, secrets::SecretValue};
use pinacle_host::{frame::MAX_PAYLOAD, valid::MAX_ENV};

pub const MOST_IN_SCOPE: i64 = 250;
/// Bytes that the names and values of a scope take as JSON.
pub const MOST_CARRIED: i64 = 448 << 10;
/// Of one team, in all scopes.
pub const MOST_OF_TEAM: i64 = 5000;

/// Both scopes of a pod, and room for the rest of what it is told.
const _: () = assert!(2 * MOST_CARRIED as usize + (64 << 10) < MAX_PAYLOAD && 2 * MOST_IN_SCOPE as usize <= MAX_ENV);

/// Bytes that a secret takes of the message: as JSON, with quotes, colon and comma.
pub fn carried(name: &str, value: &SecretValue) -> i64 {
    const AROUND: usize = 6;
    // RFC 8259, and serde_json: the short escapes, six bytes for the other control characters.
    let byte = |b: u8| match b {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    let bytes: usize = value.expose().bytes().map(byte).sum();
    i64::try_from(name.len() + bytes + AROUND).unwrap_or(i64::MAX)
}

/// Whether a scope may be as it is now.
pub fn check(scope: Scope) -> Result<(), AppError> {
    let over = |what: String| Err(AppError::new(ErrorCode::QuotaExceeded, what));
    if scope.of_team > MOST_OF_TEAM {
        return over(format!("A team has at most {MOST_OF_TEAM} secrets. Delete some first."));
    }
    if scope.secrets > MOST_IN_SCOPE {
        return over(format!("At most {MOST_IN_SCOPE} secrets for one repository, and as many for the whole team. Delete some first."));
    }
    if scope.carried > MOST_CARRIED {
        let kib = MOST_CARRIED >> 10;
        return over(format!("The secrets for one repository, or for the whole team, may have {kib} KiB together. Shorten or delete some first."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_secret_takes_is_what_json_makes_of_it() {
        for value in ["", "plain", "a\"b\\c\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}é€😀/"] {
            let json = serde_json::to_string(&std::collections::BTreeMap::from([("NAME", value)])).unwrap();
            // The braces count once, the comma is between two of them.
            assert_eq!(carried("NAME", &SecretValue::new(value.to_owned())), i64::try_from(json.len() - 2 + 1).unwrap(), "{value:?}");
        }
        let worst = SecretValue::new("\u{1}".repeat(SecretValue::MAX));
        assert!(carried(&"N".repeat(128), &worst) < MOST_CARRIED, "one of any kind fits");
    }

    #[test]
    fn a_scope_that_is_full_says_so() {
        let full = Scope { of_team: MOST_OF_TEAM, secrets: MOST_IN_SCOPE, carried: MOST_CARRIED };
        assert!(check(full).is_ok());
        for over in
            [Scope { of_team: MOST_OF_TEAM + 1, ..full }, Scope { secrets: MOST_IN_SCOPE + 1, ..full }, Scope { carried: MOST_CARRIED + 1, ..full }]
        {
            assert_eq!(check(over).unwrap_err().code, ErrorCode::QuotaExceeded);
        }
    }
}
