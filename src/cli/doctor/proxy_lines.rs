//! The configuration lines that `doorward doctor` suggests for each proxy where something is missing.

use crate::config::Flavour;

/// The lines to write where something is missing.
pub(super) struct ProxyLines {
    pub(super) original: &'static str,
    pub(super) client: &'static str,
    pub(super) header: &'static str,
}

/// By the proxy that has to write it. In `header`, `NAME` stands for a header's.
pub(super) fn lines(proxy: Flavour) -> ProxyLines {
    match proxy {
        Flavour::Nginx => ProxyLines {
            original: "proxy_set_header X-Original-Method $request_method; proxy_set_header X-Original-URL \
                       $scheme://$http_host$request_uri;",
            client: "proxy_set_header X-Forwarded-For $remote_addr;",
            header: "take away the line that empties it: proxy_set_header NAME \"\"; or proxy_pass_request_headers off;",
        },
        Flavour::Traefik => ProxyLines {
            original: "forwardAuth: trustForwardHeader: false; and no forwardedHeaders.insecure on the entry point",
            client: "no forwardedHeaders.insecure on the entry point, and trustedIPs only for proxies of yours",
            header: "forwardAuth: add NAME to authRequestHeaders, or take that list away",
        },
        Flavour::Caddy => ProxyLines {
            original: "forward_auth sets all of them by itself: take header_up lines away, and trusted_proxies that \
                       are not yours",
            client: "servers: no trusted_proxies that are not yours",
            header: "take away: header_up -NAME",
        },
        Flavour::Haproxy => ProxyLines {
            original: "headers[\"x-forwarded-method\"], -proto, -host and -uri, as `doorward snippet haproxy --part \
                       lua` sets them",
            client: "headers[\"x-forwarded-for\"] = { txn.sf:src() }",
            header: "add \"NAME\" to the list `repeated` in doorward.lua",
        },
        Flavour::Envoy => ProxyLines {
            original: "http_connection_manager: use_remote_address: true; ext_authz: allowed_headers with \
                       x-forwarded-proto, path_prefix as `doorward snippet envoy` prints it",
            client: "http_connection_manager: use_remote_address: true; ext_authz: allowed_headers with x-forwarded-for",
            header: "ext_authz: allowed_headers: patterns: - { exact: \"NAME\" }",
        },
    }
}
