//! Where to go after signing in: a path of our own, whatever the address bar said.

const MOST_PATH: usize = 1024;
const HOME: &str = "/";

/// The path if it is one of ours, else the home page.
pub fn own_path(path: Option<&str>) -> &str {
    path.filter(|path| is_own(path)).unwrap_or(HOME)
}

/// Begins with exactly one slash and holds nothing that a browser would drop or turn into another: `//evil.test`,
/// `/\evil.test` and `/<tab>/evil.test` all lead away.
fn is_own(path: &str) -> bool {
    path.len() <= MOST_PATH
        && path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains('\\')
        && path.bytes().all(|byte| byte.is_ascii_graphic())
        && !path.starts_with("/auth/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn wherever_one_is_sent_it_is_here(path in "[/\\\\]{0,3}[a-z:@.?#%\t\n]{0,20}|.{0,30}") {
            let here = url::Url::parse("https://pinacle.example/sign-in").unwrap();
            let to = here.join(own_path(Some(&path))).unwrap();
            prop_assert_eq!(to.origin(), here.origin());
        }
    }

    #[test]
    fn only_paths_of_our_own_are_returned_to() {
        for own in ["/", "/pods", "/pods?status=running&tier=dev.small", "/pods/x#log"] {
            assert_eq!(own_path(Some(own)), own);
        }
        let long = format!("/{}", "a".repeat(MOST_PATH));
        for foreign in [
            "",
            "pods",
            "//evil.test",
            "/\\evil.test",
            "/\t/evil.test",
            "/\n/evil.test",
            "https://evil.test",
            "javascript:alert(1)",
            "/x\\..",
            "/auth/sign-out",
            "/ä",
            &long,
        ] {
            assert_eq!(own_path(Some(foreign)), "/", "{foreign:?}");
        }
        assert_eq!(own_path(None), "/");
    }
}
