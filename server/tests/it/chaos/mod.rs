//! Every pod, whatever befalls it in whatever step: as wished, or failed with a reason and a way on, within a minute of things
//! being back; nothing left behind, and nothing lost.
//!
//! Has the stack's hosts and its Postgres to itself. `PINACLE_CHAOS=all` strikes everywhere; otherwise a sample is struck.
//! `PINACLE_CHAOS_SEED` chooses the sample, and how far into a step it strikes; `PINACLE_CHAOS_CASES` names the cases.

mod case;
mod faults;
mod hold;
mod round;

use crate::fleet::Fleet;
use case::{Case, Fault};
use faults::Stage;
use futures::FutureExt;
use std::{env, panic::AssertUnwindSafe, time::Instant};

/// Cases of each fault in a sample.
const SAMPLE: usize = 8;
/// Pods that a fault strikes together.
const TOGETHER: usize = 18;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "has the stack's hosts and its Postgres to itself: dev/test.sh runs a sample, dev/chaos.sh everything"]
async fn whatever_befalls_a_pod_in_whatever_step_it_ends_as_wished_or_says_why_not() {
    let Some(fleet) = Fleet::alone().await else { return };
    let seed = env::var("PINACLE_CHAOS_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    let cases = match env::var("PINACLE_CHAOS_CASES") {
        Ok(names) => names.split(',').map(|name| case::named(name.trim())).collect(),
        Err(_) if env::var("PINACLE_CHAOS").is_ok_and(|which| which == "all") => case::all(),
        Err(_) => case::sample(seed, SAMPLE),
    };
    println!("{} cases, SEED={seed}", cases.len());
    let begun = Instant::now();
    let mut stage = Stage::new(&fleet).await;
    let (mut broken, mut failed, mut missed, mut in_vain) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for fault in Fault::ALL {
        let mut hit = 0;
        let of_this: Vec<Case> = cases.iter().copied().filter(|case| case.fault == fault).collect();
        for together in of_this.chunks(TOGETHER) {
            let since = Instant::now();
            stage.begin(fault);
            let round = AssertUnwindSafe(round::run(&mut stage, together, seed)).catch_unwind().await;
            match round {
                Ok(found) => {
                    let (all, ill, seconds) = (together.len(), found.broken.len(), since.elapsed().as_secs());
                    println!("{fault:?}: {all} cases, {} of them hit, {ill} broken, {seconds} s", found.hit);
                    broken.extend(found.broken);
                    failed.extend(found.failed);
                    missed.extend(found.missed);
                    hit += found.hit;
                }
                Err(panic) => {
                    let said = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    let why = said.unwrap_or_else(|| "the round ended by a panic".to_owned());
                    println!("{fault:?}: {} cases ended by: {why}", together.len());
                    broken.extend(together.iter().map(|case| (*case, why.clone())));
                    round::sweep(&stage).await;
                }
            }
        }
        if hit == 0 && of_this.len() >= SAMPLE {
            in_vain.push(fault);
        }
    }
    stage.end();
    for (case, why) in &failed {
        println!("failed, with a reason and a way on: {case}: {why}");
    }
    for case in &missed {
        println!("gone before it was struck, as may be: {case}");
    }
    println!("{} cases in {} s, {} failed with a reason, {} broken", cases.len(), begun.elapsed().as_secs(), failed.len(), broken.len());
    let list: Vec<String> =
        broken.iter().map(|(case, why)| format!("make chaos CASE={case} SEED={seed}\n    {}", why.replace('\n', "\n    "))).collect();
    assert!(broken.is_empty(), "{}", list.join("\n"));
    assert!(in_vain.is_empty(), "struck often, and never hit anything: {in_vain:?}");
}
