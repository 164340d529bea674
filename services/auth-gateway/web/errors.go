package web

import (
	"net/http"
	"time"
)

// ErrorFor is the page of an HTTP status: 400, 403, 404, 405, 410, 429, 500 and 503 have their own words, any other
// below 500 those of 400, any other those of 500. The way onward may be changed afterwards.
func ErrorFor(status int, code, requestID string, retryAfter time.Duration) Error {
	e := Error{Status: status, Code: code, RequestID: requestID, RetryAfter: retryAfter, OnwardURL: "/sign-in", OnwardText: OnwardSignIn}
	switch status {
	case http.StatusForbidden:
		e.Title, e.Text, e.OnwardURL, e.OnwardText = ForbiddenTitle, Forbidden, "/account", OnwardAccount
	case http.StatusNotFound:
		e.Title, e.Text, e.OnwardURL, e.OnwardText = NotFoundTitle, NotFound, "/account", OnwardAccount
	case http.StatusMethodNotAllowed:
		e.Title, e.Text, e.OnwardURL, e.OnwardText = BadMethodTitle, BadMethod, "/account", OnwardAccount
	case http.StatusGone:
		e.Title, e.Text = GoneTitle, Gone
	case http.StatusTooManyRequests:
		e.Title, e.Text = TooManyTitle, TooMany
	case http.StatusServiceUnavailable:
		e.Title, e.Text, e.OnwardText = UnavailableTitle, UnavailableText, OnwardAgain
	default:
		if status < http.StatusInternalServerError {
			e.Title, e.Text = BadRequestTitle, BadRequest
		} else {
			e.Title, e.Text, e.OnwardText = InternalTitle, Internal, OnwardAgain
		}
	}
	return e
}
