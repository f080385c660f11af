//! What a team is called in addresses: made of its name when the team is made, and kept.

use super::store;
use pinacle_app::ids::{TeamId, UserId};
use sqlx::PgConnection;

const MOST_SLUG: usize = 39;
/// Teams whose names make the same slug; the next one is asked for another name.
const MOST_ALIKE: u32 = 1000;
/// Words that stand in a team's place in addresses of ours.
const TAKEN: [&str; 1] = ["new"];

/// Makes a team under the first free slug for these words; false where a thousand of them are taken.
pub async fn claim(tx: &mut PgConnection, id: TeamId, words: &str, name: &str, personal_of: Option<UserId>) -> Result<bool, sqlx::Error> {
    for number in 1..=MOST_ALIKE {
        if store::insert(tx, id, &slug(words, number), name, personal_of).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Lower-case letters, digits and inner hyphens; a number at its end when others came before.
fn slug(name: &str, number: u32) -> String {
    let mut stem = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            stem.push(c.to_ascii_lowercase());
        } else if !stem.is_empty() && !stem.ends_with('-') {
            stem.push('-');
        }
    }
    let stem = stem.trim_end_matches('-');
    let (stem, number) = match stem {
        "" => ("team", number),
        // What an address means already begins at two.
        stem if TAKEN.contains(&stem) => (stem, number + 1),
        stem => (stem, number),
    };
    let end = if number == 1 { String::new() } else { format!("-{number}") };
    let stem: String = stem.chars().take(MOST_SLUG - end.len()).collect();
    format!("{}{end}", stem.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_made_of_the_name() {
        assert_eq!(slug("Acme", 1), "acme");
        assert_eq!(slug("  R&D, Berlin! ", 1), "r-d-berlin");
        assert_eq!(slug("Acme", 3), "acme-3");
        assert_eq!(slug("日本", 1), "team");
        assert_eq!(slug("New", 1), "new-2");
        assert_eq!(slug(&"a".repeat(60), 12), format!("{}-12", "a".repeat(36)));
    }
}
