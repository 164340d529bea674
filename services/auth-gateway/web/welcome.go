package web

// Welcome is /welcome/{token}: a person sets their password by the link that an admin handed over. Posts password and
// again to the same address.
type Welcome struct {
	Token         string // the last part of the address
	Email         string // whose account it is; the password manager files the password under it
	PasswordError Text   // PasswordMissing, PasswordShort, PasswordLong, PasswordCommon, PasswordKnown
	AgainError    Text   // PasswordsDiffer
	Over          bool   // the link was used, replaced, or is too old: there is no form
}

func (Welcome) page() string { return "welcome" }

// What is said of a new password.
const (
	PasswordShort   Text = "choose.short"
	PasswordLong    Text = "choose.long"
	PasswordCommon  Text = "choose.common"
	PasswordKnown   Text = "choose.known"
	PasswordsDiffer Text = "choose.differ"

	// PasswordIsSet is what the sign-in form says afterwards.
	PasswordIsSet Text = "notice.password_set"
)
