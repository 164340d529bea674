package sms

import (
	"time"

	"sallyport/pkg/contract"
)

// The limits on texts (see package meter) count unanswered ones. A text is unanswered from the moment it is asked for
// until its code is typed rightly: who pumps texts to numbers of their own never types one.

// prefixOf is a number without its last four digits: the ten thousand numbers that an operator is given at once.
func prefixOf(e164 string) string { return e164[:max(len(e164)-4, 0)] }

// reasonOf is how a refusal by a guard is told.
func reasonOf(g contract.Guard) contract.Reason { return contract.Reason("limit_" + string(g)) }

// overLimit is the refusal of a guard.
func overLimit(g contract.Guard, wait time.Duration) *contract.Error {
	sentence := map[contract.Guard]string{
		contract.GuardPerson:     "Too many codes were sent. Please wait a few minutes, or sign in another way.",
		contract.GuardNumber:     "Too many codes were sent to this number. Please wait a while, or sign in another way.",
		contract.GuardPrefix:     "Too many codes were sent to numbers near this one. Please wait a while, or sign in another way.",
		contract.GuardNetwork:    "Too many codes were asked for from your network. Please wait a while, or sign in another way.",
		contract.GuardCountry:    "Too many codes were sent to numbers of this country. Please wait a while, or sign in another way.",
		contract.GuardPortal:     "Too many codes were sent. Please wait a while, or sign in another way.",
		contract.GuardConversion: "Text messages to numbers of this country are stopped for now. Please sign in another way, or try again later.",
		contract.GuardBudget:     "No more text messages are sent today. Please sign in another way, or try again tomorrow.",
	}[g]
	e := contract.Wait(contract.RateLimited, wait, "%s", sentence)
	e.Reason = reasonOf(g)
	return e
}
