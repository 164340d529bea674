package gateway

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sallyport/pkg/contract"
)

// statusOf is the one table from codes to HTTP.
var statusOf = map[contract.Code]int{
	contract.InvalidRequest:     http.StatusUnprocessableEntity,
	contract.InvalidCredentials: http.StatusUnauthorized,
	contract.Unauthenticated:    http.StatusUnauthorized,
	contract.StepUpRequired:     http.StatusForbidden,
	contract.Forbidden:          http.StatusForbidden,
	contract.NotFound:           http.StatusNotFound,
	contract.Conflict:           http.StatusConflict,
	contract.Expired:            http.StatusGone,
	contract.InvalidCode:        http.StatusUnprocessableEntity,
	contract.Locked:             http.StatusTooManyRequests,
	contract.TooSoon:            http.StatusTooManyRequests,
	contract.RateLimited:        http.StatusTooManyRequests,
	contract.Unavailable:        http.StatusServiceUnavailable,
	contract.InternalError:      http.StatusInternalServerError,
}

// Problem is an RFC 9457 problem document with a stable code.
type Problem struct {
	Type   string `json:"type" example:"about:blank" doc:"Always about:blank: the code says what the problem is."`
	Title  string `json:"title" example:"Unprocessable Entity" doc:"The status in words."`
	Status int    `json:"status" example:"422" doc:"The HTTP status."`
	Code   string `json:"code" enum:"invalid_request,invalid_credentials,unauthenticated,step_up_required,forbidden,not_found,conflict,expired,invalid_code,locked,too_soon,rate_limited,unavailable,internal" example:"invalid_code" doc:"What went wrong, for programs. The list is closed and stable."`
	Detail string `json:"detail" example:"That code is not right." doc:"What went wrong, for people."`

	AttemptsLeft *int           `json:"attempts_left,omitempty" example:"3" doc:"How many wrong codes are left before a lock (invalid_code)."`
	LockedUntil  *time.Time     `json:"locked_until,omitempty" doc:"When the factor opens again (locked, and the invalid_code that locked it). Absent where only recovery or a reset helps."`
	RetryAfter   int            `json:"retry_after,omitempty" example:"30" doc:"Seconds to wait; the same as the Retry-After header."`
	ClockOffset  *int           `json:"clock_offset,omitempty" example:"-420" doc:"How many seconds the phone's clock is ahead or, negative, behind, where that is why codes are wrong."`
	Reason       string         `json:"reason,omitempty" enum:"phone_invalid,phone_country,phone_kind,code_malformed,limit_person,limit_number,limit_prefix,limit_network,limit_country,limit_portal,limit_conversion,limit_budget,limit_password,limit_password_network" doc:"Why something is refused, where there is more to say than the code: what is wrong with an input, or which limit on text messages or on wrong passwords was reached."`
	Errors       []FieldProblem `json:"errors,omitempty" doc:"Which fields are wrong."`
	RequestID    string         `json:"request_id,omitempty" doc:"Names this request in the server's log."`
}

// FieldProblem says what is wrong with one field. The value is never repeated: it may be a secret.
type FieldProblem struct {
	Field  string `json:"field" example:"body.email"`
	Detail string `json:"detail" example:"expected required property email to be present"`
}

// Error returns code and sentence.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus returns the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders returns Retry-After where there is something to wait for.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="sallyport"`)
	}
	return h
}

// ContentType is that of a problem document.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// problemOf makes a problem of any error. What is not a refusal of ours says nothing but "internal".
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	e := contract.AsError(err)
	status, ok := statusOf[e.Code]
	if !ok {
		e, status = contract.AsError(nil), http.StatusInternalServerError
	}
	p = &Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Code: string(e.Code), Detail: e.Detail,
		AttemptsLeft: e.AttemptsLeft, LockedUntil: e.LockedUntil, RetryAfter: e.RetryAfter, ClockOffset: e.ClockOffset, Reason: string(e.Reason),
	}
	if e.Field != "" {
		p.Errors = []FieldProblem{{Field: e.Field, Detail: e.Detail}}
	}
	if p.RetryAfter == 0 && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
		p.RetryAfter = 1
	}
	return p
}

// requestProblem is what a request that does not fit the API's schema is answered.
func requestProblem(status int, msg string, errs ...error) huma.StatusError {
	code := contract.InvalidRequest
	switch status {
	case http.StatusNotFound:
		code = contract.NotFound
	case http.StatusInternalServerError:
		return problemOf(errors.New(msg))
	}
	p := &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: string(code), Detail: "The request is not valid."}
	if len(errs) == 0 && msg != "" {
		p.Detail = msg
	}
	for _, err := range errs {
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			detail := d.ErrorDetail()
			p.Errors = append(p.Errors, FieldProblem{Field: detail.Location, Detail: detail.Message})
		} else if err != nil {
			p.Errors = append(p.Errors, FieldProblem{Field: "body", Detail: "not readable as JSON of this form"})
		}
	}
	return p
}
