//! The pages and their addresses.

use crate::account::SignInPage;
use crate::account::theme::Theme;
use crate::routes::{Account, Hosts, Invitation, NewPod, NewTeam, OnePod, OneTeam, Pods, Secrets};
use crate::ui::clock::Clock;
use crate::ui::frame::Frame;
use crate::ui::live::Link;
use crate::ui::not_found::NotFoundInFrame;
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos_meta::{Title, provide_meta_context};
use leptos_router::SsrMode::Async;
use leptos_router::components::{ParentRoute, Route, Router, Routes};
use leptos_router::{Lazy, path};

/// Everything in the body. Pages wait for their data on the server, so that they work without JavaScript and
/// answer with the right status.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    Clock::provide();
    provide_context(RwSignal::new(SharedValue::new(|| use_context::<Theme>().unwrap_or_default()).into_inner()));
    Notice::provide();
    provide_context(RwSignal::new(Link::Idle));
    view! {
        <Title formatter=|text: String| if text.is_empty() { "Pinacle".to_owned() } else { format!("{text} · Pinacle") } />
        <Router>
            <Routes fallback=NotFoundInFrame>
                <Route path=path!("/sign-in") view=SignInPage ssr=Async />
                <ParentRoute path=path!("") view=Frame ssr=Async>
                    <Route path=path!("") view={Lazy::<Pods>::new()} ssr=Async />
                    <Route path=path!("pods/new") view={Lazy::<NewPod>::new()} ssr=Async />
                    <Route path=path!("pods/:id") view={Lazy::<OnePod>::new()} ssr=Async />
                    <Route path=path!("teams/new") view={Lazy::<NewTeam>::new()} ssr=Async />
                    <Route path=path!("teams/:team") view={Lazy::<OneTeam>::new()} ssr=Async />
                    <Route path=path!("teams/:team/pods") view={Lazy::<Pods>::new()} ssr=Async />
                    <Route path=path!("teams/:team/pods/new") view={Lazy::<NewPod>::new()} ssr=Async />
                    <Route path=path!("teams/:team/pods/:id") view={Lazy::<OnePod>::new()} ssr=Async />
                    <Route path=path!("invitations/:code") view={Lazy::<Invitation>::new()} ssr=Async />
                    <Route path=path!("secrets") view={Lazy::<Secrets>::new()} ssr=Async />
                    <Route path=path!("teams/:team/secrets") view={Lazy::<Secrets>::new()} ssr=Async />
                    <Route path=path!("account") view={Lazy::<Account>::new()} ssr=Async />
                    <Route path=path!("hosts") view={Lazy::<Hosts>::new()} ssr=Async />
                </ParentRoute>
            </Routes>
        </Router>
    }
}
