//! What a pod's page knows: the pod, its log, what runs in it; kept fresh by its stream.

use super::api::pod_month_use;
use super::lines::{Line, Lines};
use super::timeline::{Timeline, UsualTime};
use super::{EventKind, MonthUse, Pod, PodEvent, PodLive, PodNews, PodStart, PodStatus};
use crate::ids::PodId;
use crate::ui::live::listen;
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// News are gathered for this long, so that a burst of lines is one change of the page.
const GATHER: Duration = Duration::from_millis(60);

#[derive(Clone, Copy)]
pub struct Feed {
    pub id: PodId,
    pub pod: RwSignal<Pod>,
    pub live: RwSignal<Option<PodLive>>,
    pub lines: RwSignal<Vec<Line>>,
    pub usual: StoredValue<Vec<UsualTime>>,
    pub month: RwSignal<MonthUse>,
    /// Begins, ends and changes of status: what the timeline is folded from.
    pub marks: RwSignal<Vec<PodEvent>>,
    last_seq: StoredValue<i64>,
    cutter: StoredValue<Lines>,
}

impl Feed {
    pub fn new(start: PodStart) -> Self {
        let mut cutter = Lines::default();
        let lines = start.events.iter().flat_map(|event| cutter.cut(event)).collect();
        let feed = Self {
            id: start.pod.id,
            pod: RwSignal::new(start.pod),
            live: RwSignal::new(None),
            lines: RwSignal::new(lines),
            usual: StoredValue::new(start.usual),
            month: RwSignal::new(start.month),
            last_seq: StoredValue::new(start.events.last().map_or(0, |event| event.seq)),
            marks: RwSignal::new(start.events.into_iter().filter(|event| event.kind != EventKind::Output).collect()),
            cutter: StoredValue::new(cutter),
        };
        // Of a pod that is gone there is no news.
        let gone = Memo::new(move |_| feed.pod.with(|pod| pod.status == PodStatus::Deleted));
        Effect::new(move || {
            if !gone.get() {
                feed.follow();
            }
        });
        feed.follow_month();
        feed
    }

    /// Hours and price are counted anew with every change of status.
    fn follow_month(self) {
        let status = Memo::new(move |_| self.pod.with(|pod| pod.status));
        Effect::new(move |before: Option<PodStatus>| {
            let now = status.get();
            if before.is_some_and(|before| before != now) {
                spawn_local(async move {
                    // Without an answer what stands there is still the last that is known.
                    if let Ok(month) = pod_month_use(self.id).await {
                        self.month.try_set(month);
                    }
                });
            }
            now
        });
    }

    /// The whole log as text, a line each.
    pub fn log_text(self) -> Signal<String> {
        Signal::derive(move || {
            self.lines.with(|all| all.iter().map(|line| format!("{:>8} {:<10} {}\n", line.seconds(), line.step, line.text)).collect())
        })
    }

    /// Name of the file that the log is saved as.
    pub fn log_file(self) -> Signal<String> {
        Signal::derive(move || self.pod.with(|pod| format!("{}-log.txt", pod.name)))
    }

    /// The latest run, folded again whenever a step begins or ends.
    pub fn timeline(self) -> Memo<Timeline> {
        Memo::new(move |_| {
            let has_setup = self.pod.with(|pod| pod.repository.is_some());
            self.marks.with(|marks| self.usual.with_value(|usual| Timeline::fold(marks, usual, has_setup)))
        })
    }

    fn follow(self) {
        let gathered = Rc::new(RefCell::new(Vec::<PodNews>::new()));
        let url = move || format!("/live/pods/{}/events?after={}", self.id, self.last_seq.try_get_value().unwrap_or(0));
        listen(url, move |text| {
            let Ok(news) = serde_json::from_str::<PodNews>(text) else { return };
            let first = gathered.borrow().is_empty();
            gathered.borrow_mut().push(news);
            if first {
                let gathered = gathered.clone();
                set_timeout(move || self.take(gathered.take()), GATHER);
            }
        });
    }

    fn take(self, news: Vec<PodNews>) {
        let mut last = self.last_seq.try_get_value().unwrap_or(i64::MAX);
        let mut events = Vec::new();
        for one in news {
            match one {
                PodNews::Pod { pod } => drop(self.pod.try_set(*pod)),
                PodNews::Live { live } => drop(self.live.try_set(Some(*live))),
                PodNews::Event { event } if event.seq > last => {
                    last = event.seq;
                    events.push(event);
                }
                PodNews::Event { .. } => {}
            }
        }
        if events.is_empty() {
            return;
        }
        self.last_seq.try_set_value(last);
        let lines: Option<Vec<Line>> = self.cutter.try_update_value(|cutter| events.iter().flat_map(|event| cutter.cut(event)).collect());
        self.lines.try_update(|all| all.extend(lines.unwrap_or_default()));
        events.retain(|event| event.kind != EventKind::Output);
        if !events.is_empty() {
            self.marks.try_update(|marks| marks.extend(events));
        }
    }
}
