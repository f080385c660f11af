//! The pages and their addresses.

use crate::account::theme::Theme;
use crate::account::{AccountPage, SignInPage};
use crate::hosts::HostsPage;
use crate::pods::{NewPodPage, PodPage, PodsPage};
use crate::secrets::SecretsPage;
use crate::teams::{InvitationPage, NewTeamPage, TeamPage};
use crate::ui::clock::Clock;
use crate::ui::frame::Frame;
use crate::ui::live::Link;
use crate::ui::not_found::NotFoundInFrame;
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos_meta::{Title, provide_meta_context};
use leptos_router::SsrMode::Async;
use leptos_router::components::{ParentRoute, Route, Router, Routes};
use leptos_router::path;

/// Everything in the body. Pages wait for their data on the server, so that they work without JavaScript and
/// answer with the right status.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    Clock::provide();
    provide_context(RwSignal::new(SharedValue::new(|| use_context::<Theme>().unwrap_or_default()).into_inner()));
    provide_context(Notice::default());
    provide_context(RwSignal::new(Link::Idle));
    view! {
        <Title formatter=|text: String| if text.is_empty() { "Pinacle".to_owned() } else { format!("{text} · Pinacle") } />
        <Router>
            <Routes fallback=NotFoundInFrame>
                <Route path=path!("/sign-in") view=SignInPage ssr=Async />
                <ParentRoute path=path!("") view=Frame ssr=Async>
                    <Route path=path!("") view=PodsPage ssr=Async />
                    <Route path=path!("pods/new") view=NewPodPage ssr=Async />
                    <Route path=path!("pods/:id") view=PodPage ssr=Async />
                    <Route path=path!("teams/new") view=NewTeamPage ssr=Async />
                    <Route path=path!("teams/:team") view=TeamPage ssr=Async />
                    <Route path=path!("teams/:team/pods") view=PodsPage ssr=Async />
                    <Route path=path!("teams/:team/pods/new") view=NewPodPage ssr=Async />
                    <Route path=path!("teams/:team/pods/:id") view=PodPage ssr=Async />
                    <Route path=path!("invitations/:code") view=InvitationPage ssr=Async />
                    <Route path=path!("secrets") view=SecretsPage ssr=Async />
                    <Route path=path!("teams/:team/secrets") view=SecretsPage ssr=Async />
                    <Route path=path!("account") view=AccountPage ssr=Async />
                    <Route path=path!("hosts") view=HostsPage ssr=Async />
                </ParentRoute>
            </Routes>
        </Router>
    }
}
