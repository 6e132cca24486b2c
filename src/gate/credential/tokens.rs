//! Tokens that the settings name: break-glass and imported keys, recognised by digest, without the store.

use std::collections::HashMap;
use std::rc::Rc;

use crate::config::{Config, SHORTEST_KEY, TokenConfig};
use crate::gate::identity::Identity;
use crate::model::principal::{Principal, PrincipalKind, Proof};
use crate::model::token::TokenDigest;

/// The tokens of one configuration, with whom each stands for.
#[derive(Debug, Default)]
pub struct OwnTokens {
    identities: Vec<Rc<Identity>>,
    /// Break-glass tokens: every one is compared, in constant time.
    break_glass: Vec<(TokenDigest, usize)>,
    /// The others, found by digest: that says nothing of a value one does not have.
    imported: HashMap<String, usize>,
}

impl OwnTokens {
    /// The tokens that a configuration names.
    pub fn new(config: &Config) -> Self {
        let mut tokens = Self::default();
        for (at, token) in config.tokens.iter().enumerate() {
            tokens.identities.push(Rc::new(Identity::named(principal(token), token.digest)));
            if matches!(token.kind, PrincipalKind::BreakGlass { .. }) {
                tokens.break_glass.push((token.digest, at));
            } else {
                tokens.imported.insert(token.digest.to_text(), at);
            }
        }
        tokens
    }

    /// Which token this text is.
    pub fn find(&self, text: &str) -> Option<usize> {
        if self.identities.is_empty() || text.len() < SHORTEST_KEY {
            return None;
        }
        let digest = TokenDigest::of(text);
        let matching = self
            .break_glass
            .iter()
            .fold(None, |found, (own, at)| if *own == digest { Some(*at) } else { found });
        matching.or_else(|| self.imported.get(&digest.to_text()).copied())
    }

    /// Whether it is a key of a system that was here before, which may go on checking it.
    pub fn is_imported(&self, at: usize) -> bool {
        let kind = self.identities.get(at).map(|identity| &identity.principal.kind);
        matches!(kind, Some(PrincipalKind::ImportedKey { .. }))
    }

    /// Whom a token stands for that was accepted before, if the settings still name it with the same value.
    pub(super) fn still_named(&self, identity: &Identity) -> Option<Rc<Identity>> {
        let is_same =
            |own: &&Rc<Identity>| own.subject == identity.subject && own.named_by == identity.named_by;
        self.identities.iter().find(is_same).cloned()
    }

    /// Whom a token stands for.
    pub fn identity(&self, at: usize) -> Option<&Rc<Identity>> {
        self.identities.get(at)
    }
}

fn principal(token: &TokenConfig) -> Principal {
    let proof = Proof::Key {
        expires_at: None,
        scope: token.scope.clone(),
        name: token.name.clone(),
        last_used_at: None,
    };
    Principal { proof, ..Principal::example(token.kind.clone(), &token.name, token.role) }
}
