package contract

import (
	"errors"
	"fmt"
	"time"
)

// Code is a stable, machine-readable reason. The list is closed; it is the same on the bus and in the JSON API.
type Code string

// Every code there is.
const (
	InvalidRequest     Code = "invalid_request"
	InvalidCredentials Code = "invalid_credentials" //nolint:gosec // a code, no credential
	Unauthenticated    Code = "unauthenticated"
	StepUpRequired     Code = "step_up_required"
	Forbidden          Code = "forbidden"
	NotFound           Code = "not_found"
	Conflict           Code = "conflict"
	Expired            Code = "expired"
	InvalidCode        Code = "invalid_code"
	Locked             Code = "locked"
	TooSoon            Code = "too_soon"
	RateLimited        Code = "rate_limited"
	Unavailable        Code = "unavailable"
	InternalError      Code = "internal"
)

// Codes lists every code, in the order of the documentation.
func Codes() []Code {
	return []Code{
		InvalidRequest, InvalidCredentials, Unauthenticated, StepUpRequired, Forbidden, NotFound, Conflict,
		Expired, InvalidCode, Locked, TooSoon, RateLimited, Unavailable, InternalError,
	}
}

// Error is a refusal that a caller may see: it survives the bus and reaches the person. Detail is one short
// sentence without any secret. Every other error is internal: it is logged where it happens and shown to nobody.
type Error struct {
	Code   Code   `json:"code"`
	Detail string `json:"detail"`
	// AttemptsLeft is how many wrong codes are left before a lock ([InvalidCode] only).
	AttemptsLeft *int `json:"attempts_left,omitempty"`
	// LockedUntil is when the factor opens again ([Locked]); nil there means disabled until recovery or reset.
	LockedUntil *time.Time `json:"locked_until,omitempty"`
	// RetryAfter is in seconds ([Locked], [TooSoon], [RateLimited], [Unavailable]).
	RetryAfter int `json:"retry_after,omitempty"`
	// ClockOffset is how many seconds the authenticator's clock is ahead (positive) or behind (negative), set on an
	// [InvalidCode] once two right codes in a row lay outside the window.
	ClockOffset *int `json:"clock_offset,omitempty"`
	// Field names the input that is wrong ([InvalidRequest]), Reason says how (there, of an [InvalidCode] that is no
	// code at all, and of a [RateLimited] text message), for pages in other languages.
	Field  string `json:"field,omitempty"`
	Reason Reason `json:"reason,omitempty"`
}

// Reason is why something is refused: a closed set, finer than the code.
type Reason string

// Why a telephone number, a code, a text message or a password is refused.
const (
	PhoneNotANumber Reason = "phone_invalid" // not a whole number
	PhoneCountry    Reason = "phone_country" // of a country that is not texted
	PhoneKind       Reason = "phone_kind"    // not a mobile number

	CodeMalformed Reason = "code_malformed" // not six digits; it was not counted

	// Of a [RateLimited] text message: which limit was reached. Each is a [Guard] of the same name.
	LimitPerson     Reason = "limit_person"
	LimitNumber     Reason = "limit_number"
	LimitPrefix     Reason = "limit_prefix"
	LimitNetwork    Reason = "limit_network"
	LimitCountry    Reason = "limit_country"
	LimitPortal     Reason = "limit_portal"
	LimitConversion Reason = "limit_conversion" // the country is stopped
	LimitBudget     Reason = "limit_budget"     // of the day

	// Of a [RateLimited] password: too many were tried for the account, or from the network.
	LimitPassword        Reason = "limit_password"
	LimitPasswordNetwork Reason = "limit_password_network"
)

// Error returns code and sentence.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Detail }

// Refuse makes an [Error] with a formatted sentence.
func Refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Wait makes an [Error] that says when to come back. The wait is rounded up to whole seconds, at least one.
func Wait(code Code, wait time.Duration, format string, args ...any) *Error {
	e := Refuse(code, format, args...)
	e.RetryAfter = Seconds(wait)
	return e
}

// NotAnswering is the refusal for a part (a service, the store, a bucket) that does not answer in time. It names none:
// which one it was stands in the log.
func NotAnswering() *Error {
	return Wait(Unavailable, 2*time.Second, "A part of the sign-in service does not answer. Please try again.")
}

// Seconds rounds a wait up to whole seconds, at least one.
func Seconds(wait time.Duration) int {
	return max(1, int((wait+time.Second-1)/time.Second))
}

// AsError returns the [Error] inside err, or an [InternalError] one that says nothing: unknown means internal.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: InternalError, Detail: "Something went wrong on our side."}
}

// CodeOf returns the code of err; a nil error has none.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return AsError(err).Code
}
