//! Pages of lists: how many items one holds, and whether there is another.

use pinacle_app::{AppError, AppResult, pods::Page};

/// Items of a page that nobody said a number for, and the most that may be asked for.
pub const DEFAULT: u32 = 50;
pub const MOST: u32 = 100;

/// How many items are wanted.
pub fn limit(asked: Option<u32>, default: u32, most: u32) -> AppResult<u32> {
    match asked.unwrap_or(default) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(AppError::field("limit", format!("From 1 to {most}."))),
    }
}

pub fn bad_cursor() -> AppError {
    AppError::field("cursor", "Hand in the next_cursor of the page before, or none.")
}

/// Of items that were read with one more than `limit`: that one says whether there is another page, behind `cursor` of the last.
pub fn page<T>(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor = items.last().filter(|_| more).map(cursor);
    Page { items, next_cursor }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_page_has_no_more_than_was_asked_for_and_says_what_the_next_begins_behind(count in 0usize..=101, most in 1u32..=MOST) {
            let fits = most as usize;
            let read = count.min(fits + 1);
            let page = page((0..read).collect(), most, usize::to_string);
            prop_assert_eq!(page.items, (0..read.min(fits)).collect::<Vec<_>>());
            prop_assert_eq!(page.next_cursor, (read > fits).then(|| (fits - 1).to_string()));
        }

        #[test]
        fn any_number_of_items_is_one_that_may_be_or_refused_at_its_field(asked in prop_oneof![any::<u32>(), 0u32..=110]) {
            match limit(Some(asked), DEFAULT, MOST) {
                Ok(wanted) => prop_assert!(wanted == asked && (1..=MOST).contains(&wanted)),
                Err(error) => prop_assert!(error.of("limit").is_some() && !(1..=MOST).contains(&asked)),
            }
        }
    }

    #[test]
    fn a_page_has_between_one_and_a_hundred_items() {
        assert_eq!(limit(None, DEFAULT, MOST), Ok(50));
        assert_eq!(limit(Some(100), DEFAULT, MOST), Ok(100));
        for asked in [0, 101, u32::MAX] {
            assert!(limit(Some(asked), DEFAULT, MOST).unwrap_err().of("limit").is_some());
        }
    }
}
