// Package secret answers: how does a value that must never be printed travel through code that prints?
package secret

import (
	"fmt"
	"log/slog"
)

// Redacted is what every formatter, logger and encoder sees in place of a secret.
const Redacted = "[redacted]"

// String holds a secret text: a password, a code, a seed, a token. Every fmt verb, slog handler and encoder
// prints [Redacted]; only [String.Reveal] gives the value, so that a search for Reveal finds every use. Secrets are
// compared with [crypto/subtle], never with ==.
type String struct {
	// A pointer, because fmt prints the fields of an unexported field without asking its methods: there it prints an
	// address.
	value *string
}

// New wraps a secret text.
func New(value string) String { return String{value: &value} }

// Reveal returns the secret. The caller must neither log it nor put it into an error.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty tells whether there is no secret at all.
func (s String) Empty() bool { return s.Reveal() == "" }

// String returns [Redacted].
func (String) String() string { return Redacted }

// GoString returns [Redacted].
func (String) GoString() string { return Redacted }

// Format prints [Redacted] whatever the verb.
func (String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// LogValue returns [Redacted].
func (String) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText returns [Redacted]: a secret that reaches an encoder by accident stays one.
func (String) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// UnmarshalText takes the text as the secret, which lets configuration and request bodies be read straight into it.
func (s *String) UnmarshalText(text []byte) error {
	value := string(text)
	s.value = &value
	return nil
}
