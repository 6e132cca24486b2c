//! A macro that makes the root section and the [`Config`](super::Config) type from one list of sections.

/// Describes the settings at the top of the file, and makes `Config` of them.
///
/// An entry is one of [`section!`](super::reading::section). With `=> Typed` at its end, what it holds is checked by
/// itself (`CheckSection`), and its typed form is a field of `Config` under the same name. All others are checked against each
/// other by hand (`super::assembly`), which fills the fields that are listed for `Config`.
macro_rules! settings {
    (
        $(#[doc = $about:literal])*
        $root:ident {
            $($(#[doc = $doc:literal])*
            $name:ident: $type:ty $(= $default:literal)?, $example:literal $(=> $typed:ty)?;)*
        }

        $(#[doc = $config_about:literal])*
        $config:ident {
            $($(#[doc = $field_doc:literal])*
            pub $field:ident: $field_type:ty,)*
        }
    ) => {
        $crate::config::reading::section! {
            $(#[doc = $about])*
            $root {
                $($(#[doc = $doc])* $name: $type $(= $default)?, $example;)*
            }
        }

        $(#[doc = $config_about])*
        #[derive(Clone, Debug)]
        pub struct $config {
            $($(#[doc = $field_doc])* pub $field: $field_type,)*
            $($(
                /// The section of this name, checked.
                pub $name: $typed,
            )?)*
            /// What is allowed but unwise; logged at every start.
            pub warnings: Vec<String>,
        }

        impl $config {
            /// Checks what was written. What it comes to counts only if no problem was noted.
            fn check(root: $root, reader: &mut $crate::config::reading::SettingsReader) -> Self {
                let general = $crate::config::assembly::general(&root, reader);
                let assembled = $crate::config::assembly::Assembled::check(&root, &general, reader);
                Self {
                    $($field: assembled.$field,)*
                    $($($name: {
                        let checked: $typed =
                            $crate::config::sections::general::CheckSection::check(root.$name, &general, reader);
                        checked
                    },)?)*
                    warnings: std::mem::take(&mut reader.warnings),
                }
            }
        }
    };
}
pub(super) use settings;
