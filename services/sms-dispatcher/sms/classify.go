package sms

import (
	"strings"

	"sallyport/pkg/contract"
)

// class says what became of one call of SNS, which has no way to ask: Publish has no idempotency token.
type class string

// The classes. They are also the values of a metric label.
const (
	// wasSent: SNS has accepted the message.
	wasSent class = "sent"
	// notSent: SNS has certainly not taken it, and may next time. It costs no attempt.
	notSent class = "not_sent"
	// ambiguous: it may have been sent. Each such outcome allows one call more, under the cap.
	ambiguous class = "ambiguous"
	// permanent: this number will never be texted.
	permanent class = "permanent"
	// ours: nothing can be sent until somebody mends our account. The queue pauses; it costs no attempt.
	ours class = "ours"
)

func classes() []class { return []class{wasSent, notSent, ambiguous, permanent, ours} }

// reach says how far a call came that brought no answer.
type reach int

const (
	// reachedSNS: a connection was used; whatever went wrong then, the request may have arrived.
	reachedSNS reach = iota
	// reachedNobody: no connection was made.
	reachedNobody
	// reachedNothing: the request could not even be made, for want of credentials.
	reachedNothing
)

// answer is what one call brought: an HTTP status with SNS's error code, or, with neither, how far it came.
type answer struct {
	Status int
	Code   string
	Reach  reach
	About  subject
}

// subject is what an error is about, as far as its message says: SNS has one code for every parameter.
type subject int

const (
	// aboutNumber: the telephone number, or nothing that is known.
	aboutNumber subject = iota
	// aboutOptOut: its owner wants no texts.
	aboutOptOut
	// aboutAttributes: sender, price or another attribute of ours.
	aboutAttributes
)

// aboutOf reads the message of an error. The message itself goes nowhere: it may quote the number.
func aboutOf(message string) subject {
	message = strings.ToLower(message)
	for _, ours := range []string{"messageattribute", "aws.sns.sms.", "aws.mm.sms.", "senderid", "sender id", "originationnumber", "maxprice"} {
		if strings.Contains(message, ours) {
			return aboutAttributes
		}
	}
	if strings.Contains(message, "opted out") {
		return aboutOptOut
	}
	return aboutNumber
}

// classify is the table: what the error code says counts first, then the status, then how far the call came. What is
// in no table may have been sent.
func classify(a answer) (class, contract.FailureReason) {
	if v, ok := byCode[a.Code]; ok {
		if v.reason == contract.ReasonInvalidNumber {
			switch a.About {
			case aboutOptOut:
				v.reason = contract.ReasonOptedOut
			case aboutAttributes: // of this country's sender, perhaps: no reason to stop the others
				v.reason = contract.ReasonUnsendable
			case aboutNumber:
			}
		}
		return v.class, v.reason
	}
	switch {
	case a.Status == 200 && a.Code == "":
		return wasSent, ""
	case a.Status == 429:
		return notSent, ""
	case a.Status == 401, a.Status == 403:
		return ours, ""
	case a.Status != 0:
		return ambiguous, ""
	case a.Reach == reachedNobody:
		return notSent, ""
	case a.Reach == reachedNothing:
		return ours, ""
	default:
		return ambiguous, ""
	}
}

type verdict struct {
	class  class
	reason contract.FailureReason
}

var byCode = verdicts()

func verdicts() map[string]verdict {
	out := make(map[string]verdict)
	for v, codes := range map[verdict][]string{
		{class: notSent}: { // throttling, in all its spellings
			"Throttled", "ThrottledException", "Throttling", "ThrottlingException", "RequestThrottled", "RequestThrottledException",
			"RequestLimitExceeded", "TooManyRequests", "TooManyRequestsException", "LimitExceededException", "BandwidthLimitExceeded",
			"SlowDown", "PriorRequestNotComplete", "EC2ThrottledException", "ProvisionedThroughputExceededException", "KMSThrottling",
		},
		{class: permanent, reason: contract.ReasonInvalidNumber}: {
			"InvalidParameter", "InvalidParameterException", "InvalidParameterValue", "InvalidParameterValueException", "ParameterValueInvalid",
			"ValidationError", "ValidationException",
		},
		{class: permanent, reason: contract.ReasonOptedOut}: {"OptedOut", "OptedOutException"},
		{class: ours}: {
			// credentials
			"InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException", "ExpiredToken", "ExpiredTokenException",
			"MissingAuthenticationToken", "MissingAuthenticationTokenException", "InvalidToken", "TokenRefreshRequired",
			// rights
			"AuthorizationError", "AuthorizationErrorException", "AccessDenied", "AccessDeniedException", "NotAuthorized", "AuthFailure",
			"OptInRequired", "KMSAccessDenied", "KMSDisabled", "KMSInvalidState", "KMSNotFound", "KMSOptInRequired", "InvalidAction",
			// signature, our clock
			"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "InvalidSecurity", "InvalidSecurityException",
			"RequestExpired", "RequestTimeTooSkewed", "InvalidClientTokenIdException",
			// money
			"SMSSpendLimitExceeded", "SpendLimitExceeded", "MonthlySpendLimitExceeded", "MonthlySpendLimitReached", "ServiceQuotaExceededException", "QuotaExceeded",
		},
	} {
		for _, c := range codes {
			out[c] = v
		}
	}
	return out
}
