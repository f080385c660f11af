//! The pages by parts: the browser loads the code of a page with the part that it belongs to, and not with the frame. A part is what
//! is often visited together, or too large for company: each one more makes files of what any of them share.

use crate::account::AccountPage;
use crate::hosts::HostsPage;
use crate::pods::{NewPodPage, PodPage, PodsPage};
use crate::secrets::SecretsPage;
use crate::teams::{InvitationPage, NewTeamPage, TeamPage};
use crate::ui::refusal::bear;
use leptos::prelude::*;
use leptos::wasm_split::{SplitLoaderError, wasm_split};
use leptos_router::LazyRoute;
use leptos_router::hooks::use_url;
use leptos_router::location::{BrowserUrl, LocationProvider};
use std::convert::Infallible;
use std::future::pending;

macro_rules! part {
    ($part:ident, $load:ident, $Which:ident { $($Route:ident => $Page:ident),* $(,)? }) => {
        #[derive(Clone, Copy)]
        enum $Which {
            $($Route),*
        }

        #[wasm_split($part, wasm_split_path = leptos::wasm_split, preload($load), fallible)]
        fn $part(which: $Which) -> Result<AnyView, SplitLoaderError> {
            Ok(match which {
                $($Which::$Route => view! { <$Page /> }.into_any()),*
            })
        }

        $(
            pub struct $Route;

            impl LazyRoute for $Route {
                fn data() -> Self {
                    Self
                }

                async fn view(_here: Self) -> AnyView {
                    #[cfg(feature = "ssr")]
                    crate::server::announce_part(stringify!($part));
                    match $part($Which::$Route).await {
                        Ok(view) => view,
                        Err(_logged) => match go_there_anew().await {},
                    }
                }

                async fn preload() {
                    if $load().await.is_err() {
                        match go_there_anew().await {}
                    }
                }
            }
        )*
    };
}

part!(pods_part, load_pods_part, PodsPart { Pods => PodsPage });
part!(making_part, load_making_part, MakingPart { NewPod => NewPodPage, NewTeam => NewTeamPage, Invitation => InvitationPage });
part!(pod_part, load_pod_part, PodPart { OnePod => PodPage });
part!(team_part, load_team_part, TeamPart { OneTeam => TeamPage, Secrets => SecretsPage });
part!(account_part, load_account_part, AccountPart { Account => AccountPage, Hosts => HostsPage });

/// For a part whose code does not come, as after a newer release has replaced it: the browser loads the page itself, frame and all.
/// One that it has loaded already stays as the server drew it.
async fn go_there_anew() -> Infallible {
    let there = use_url().get_untracked();
    if BrowserUrl::current().is_ok_and(|here| here != there) {
        let query = Some(there.search()).filter(|query| !query.is_empty()).map(|query| format!("?{query}")).unwrap_or_default();
        bear("The way there", window().location().set_href(&format!("{}{query}{}", there.path(), there.hash())));
    }
    pending().await
}
