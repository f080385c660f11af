//! The pages by parts: the browser loads the code of a page with the part that it belongs to, and not with the frame. A part is what
//! is often visited together, or too large for company: each one more makes files of what any of them share.

use crate::account::AccountPage;
use crate::hosts::HostsPage;
use crate::pods::{NewPodPage, PodPage, PodsPage};
use crate::secrets::SecretsPage;
use crate::teams::{InvitationPage, NewTeamPage, TeamPage};
use leptos::prelude::*;
use leptos_router::LazyRoute;

macro_rules! part {
    ($load:ident, $preload:ident, $Which:ident { $($Route:ident => $Page:ident),* $(,)? }) => {
        #[derive(Clone, Copy)]
        enum $Which {
            $($Route),*
        }

        #[lazy]
        fn $load(which: $Which) -> AnyView {
            match which {
                $($Which::$Route => view! { <$Page /> }.into_any()),*
            }
        }

        $(
            pub struct $Route;

            impl LazyRoute for $Route {
                fn data() -> Self {
                    Self
                }

                async fn view(_here: Self) -> AnyView {
                    #[cfg(feature = "ssr")]
                    crate::server::announce_part(stringify!($load));
                    $load($Which::$Route).await
                }

                async fn preload() {
                    #[cfg(target_arch = "wasm32")]
                    $preload().await;
                }
            }
        )*
    };
}

part!(pods_part, __preload_pods_part, PodsPart { Pods => PodsPage });
part!(making_part, __preload_making_part, MakingPart { NewPod => NewPodPage, NewTeam => NewTeamPage, Invitation => InvitationPage });
part!(pod_part, __preload_pod_part, PodPart { OnePod => PodPage });
part!(team_part, __preload_team_part, TeamPart { OneTeam => TeamPage, Secrets => SecretsPage });
part!(account_part, __preload_account_part, AccountPart { Account => AccountPage, Hosts => HostsPage });
