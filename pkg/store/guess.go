package store

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/lockout"
)

// GuessGuard is the condition under which a guess may be counted now: [lockout.State.Allowed] of the state kept under
// the given field, as a filter. Together with [CountGuess] in one [Change] it makes the limit exact: however many
// guesses arrive at once, no more are counted than the rule allows, and only a counted guess is compared.
func GuessGuard(field string, now time.Time) bson.D {
	failures, lastAt := field+".failures", field+".last_at"
	var closing bson.A
	var open bson.A
	for _, w := range lockout.Windows() {
		closing = append(closing, w.Failures)
		open = append(open, bson.D{
			{Key: failures, Value: w.Failures},
			{Key: lastAt, Value: bson.D{{Key: "$lte", Value: now.Add(-w.Wait)}}},
		})
	}
	// A document without the field has no failures: $nin and $not hold for it, $lt would not.
	free := bson.D{{Key: failures, Value: bson.D{
		{Key: "$nin", Value: closing},
		{Key: "$not", Value: bson.D{{Key: "$gte", Value: lockout.Limit}}},
	}}}
	return bson.D{{Key: "$or", Value: append(bson.A{free}, open...)}}
}

// CountGuess are the update operators that count a guess as a failure until it proves right.
func CountGuess(field string, now time.Time) (inc, set bson.E) {
	return bson.E{Key: field + ".failures", Value: 1}, bson.E{Key: field + ".last_at", Value: now}
}

// ClearGuesses is the element of a $set that starts the count again.
func ClearGuesses(field string) bson.E { return bson.E{Key: field + ".failures", Value: 0} }
