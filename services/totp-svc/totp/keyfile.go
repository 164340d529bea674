package totp

import (
	"bytes"
	"encoding/base32"
	"net/url"
	"strings"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// This file reads the keys of authenticators as other systems hand them over, as functions of values alone.

// Bounds of a key that is imported: 128 bits are what RFC 4226 asks for at least; ours have 160.
const (
	leastImported = 16
	mostImported  = 64
)

// Reasons why a key is refused.
const (
	keyInvalid   contract.Reason = "invalid"
	keyType      contract.Reason = "type"      // hotp and others
	keyAlgorithm contract.Reason = "algorithm" // not SHA-1
	keyDigits    contract.Reason = "digits"    // not six
	keyPeriod    contract.Reason = "period"    // not 30 seconds
	keyShort     contract.Reason = "too_short"
	keyWeak      contract.Reason = "weak"
)

func badKey(why contract.Reason, sentence string) *contract.Error {
	e := contract.Refuse(contract.InvalidRequest, "%s", sentence)
	e.Field, e.Reason = "totp", why
	return e
}

// ParseKey reads a key as base32 or as a key URI (otpauth://totp/…), and returns it in base32. Every app and this
// service agree on SHA-1, six digits and 30 seconds; a key that asks for anything else is refused, because its codes
// would never be right. The refusal never repeats the key.
func ParseKey(text string) (secret.String, *contract.Error) {
	const longest = 1024
	text = strings.TrimSpace(text)
	if len(text) > longest {
		return secret.String{}, badKey(keyInvalid, "The authenticator's key is too long.")
	}
	if len(text) >= len("otpauth:") && strings.EqualFold(text[:len("otpauth:")], "otpauth:") {
		var refusal *contract.Error
		if text, refusal = keyOfURI(text); refusal != nil {
			return secret.String{}, refusal
		}
	}
	seed, refusal := parseSeed(text)
	if refusal != nil {
		return secret.String{}, refusal
	}
	return secret.New(seedText(seed)), nil
}

// keyOfURI is the secret of a key URI whose parameters are those of every app.
func keyOfURI(text string) (string, *contract.Error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", badKey(keyInvalid, "The authenticator's key URI cannot be read.")
	}
	q, err := url.ParseQuery(u.RawQuery)
	switch {
	case err != nil:
		return "", badKey(keyInvalid, "The authenticator's key URI cannot be read.")
	case !strings.EqualFold(u.Host, "totp"):
		return "", badKey(keyType, "Only keys of time-based codes (otpauth://totp/) can be used.")
	case len(q["secret"]) != 1 || len(q["algorithm"]) > 1 || len(q["digits"]) > 1 || len(q["period"]) > 1:
		return "", badKey(keyInvalid, "The authenticator's key URI needs one secret, and no parameter twice.")
	}
	if a := strings.ReplaceAll(strings.ToUpper(q.Get("algorithm")), "-", ""); q.Has("algorithm") && a != "SHA1" && a != "HMACSHA1" {
		return "", badKey(keyAlgorithm, "Only keys for SHA-1 can be used.")
	}
	if q.Has("digits") && q.Get("digits") != "6" {
		return "", badKey(keyDigits, "Only keys for codes of six digits can be used.")
	}
	if q.Has("period") && q.Get("period") != "30" {
		return "", badKey(keyPeriod, "Only keys for a period of 30 seconds can be used.")
	}
	return q.Get("secret"), nil
}

// parseSeed reads base32 in any usual way of writing it.
func parseSeed(text string) ([]byte, *contract.Error) {
	text = strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(text))
	seed, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(text, "="))
	switch {
	case err != nil || len(seed) == 0:
		return nil, badKey(keyInvalid, "The authenticator's key must be base32, or a key URI.")
	case len(seed) < leastImported:
		return nil, badKey(keyShort, "The authenticator's key is shorter than 128 bits. The person enrols again.")
	case len(seed) > mostImported:
		return nil, badKey(keyInvalid, "The authenticator's key is longer than 512 bits.")
	case bytes.Count(seed, seed[:1]) == len(seed):
		return nil, badKey(keyWeak, "The authenticator's key is not random.")
	}
	return seed, nil
}

// seedText is a key in base32.
func seedText(seed []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(seed)
}

// ParseLabel reads a person's name for a device.
func ParseLabel(typed string) (string, *contract.Error) {
	label, err := deviceLabel(typed)
	if err != nil {
		e := contract.Refuse(contract.InvalidRequest, "Please enter a name for the device of at most 64 characters, on one line.")
		e.Field, e.Reason = "totp_label", keyInvalid
		return "", e
	}
	return label, nil
}
