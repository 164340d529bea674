package sms

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"sallyport/pkg/contract"
)

const (
	// orderTime has one width for every year there is, so that text sorts as time does.
	orderTime = "2006-01-02T15:04:05.000Z"
	// usualPage and longestPage are how many deliveries one answer lists.
	usualPage   = 50
	longestPage = 200
	// lookedAt bounds how many deliveries one answer looks at: purposes have no index of their own, so that a page of a rare
	// one may end early. Its cursor goes on from there.
	lookedAt = 2000
)

// orderOf is a challenge's place in lists: by its time, and by its id among those of one moment. As one field, a page
// of a list is one run of an index, and a cursor is one value.
func orderOf(created time.Time, challenge string) string {
	return orderFrom(created) + "/" + challenge
}

// bound is where the challenges of at and later begin; the zero time bounds nothing.
func bound(at time.Time) (order string, ok bool) {
	if at.IsZero() {
		return "", true
	}
	// Challenges are kept in whole milliseconds: the first one not before at.
	at = at.UTC().Add(time.Millisecond - time.Nanosecond).Truncate(time.Millisecond)
	if at.Year() < 1 || at.Year() > 9999 {
		return "", false
	}
	return orderFrom(at), true
}

// orderFrom is where the challenges of a millisecond and later begin.
func orderFrom(at time.Time) string { return at.UTC().Format(orderTime) }

// cursorOf makes the place of the last delivery of a page opaque.
func cursorOf(order string) string { return base64.RawURLEncoding.EncodeToString([]byte(order)) }

// orderAt is the place that a cursor of ours names.
func orderAt(cursor string) (string, bool) {
	const longest = 128
	if len(cursor) > longest {
		return "", false
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || cursorOf(string(raw)) != cursor { // lines' ends within it are skipped, even where it is strict
		return "", false
	}
	at, id, _ := strings.Cut(string(raw), "/")
	if _, err := time.Parse(orderTime, at); err != nil || len(at) != len(orderTime) || !idShape.MatchString(id) {
		return "", false
	}
	return string(raw), true
}

// deliveries answers [contract.SMSDeliveries].
func (d *dispatcher) deliveries(ctx context.Context, req contract.DeliveriesRequest) (contract.DeliveriesPage, error) {
	var page contract.DeliveriesPage
	if !portalShape.MatchString(req.Portal) || req.User != "" && !userShape.MatchString(req.User) {
		return page, errNotUsable
	}
	limit := req.Limit
	if limit == 0 {
		limit = usualPage
	}
	from, fromOK := bound(req.From)
	before, toOK := bound(req.To)
	switch {
	case req.Purpose != "" && req.Purpose != contract.ForEnrolment && req.Purpose != contract.ForSignIn && req.Purpose != contract.ForStepUp:
		return page, invalid("purpose", "A text message is for an enrolment, a sign-in or a step-up.")
	case limit < 1 || limit > longestPage:
		return page, invalid("limit", "A page has 1 to 200 entries.")
	case !fromOK:
		return page, invalid("from", "Please give a time between the years 1 and 9999.")
	case !toOK:
		return page, invalid("to", "Please give a time between the years 1 and 9999.")
	}
	if req.Cursor != "" {
		after, ok := orderAt(req.Cursor)
		if !ok {
			return page, invalid("cursor", "This page of the list does not exist. Please begin at the first.")
		}
		if before == "" || after < before {
			before = after
		}
	}
	page.Items = make([]contract.DeliveryInfo, 0, limit)
	size := limit + 1
	if req.Purpose != "" {
		size = longestPage + 1
	}
	for looked, now := 0, d.now(); ; {
		list, err := d.records.deliveries(ctx, req.Portal, req.User, from, before, int64(size))
		if err != nil {
			return contract.DeliveriesPage{}, err
		}
		for _, c := range list {
			if len(page.Items) == limit {
				page.Next = cursorOf(before)
				return page, nil
			}
			if before = c.Order; req.Purpose == "" || c.Purpose == req.Purpose {
				page.Items = append(page.Items, info(c, now))
			}
		}
		if looked += len(list); len(list) < size {
			return page, nil
		} else if looked >= lookedAt {
			page.Next = cursorOf(before)
			return page, nil
		}
	}
}

// info is what an admin may know of a challenge.
func info(c challenge, now time.Time) contract.DeliveryInfo {
	out := contract.DeliveryInfo{
		Challenge: c.ID, User: c.User, Purpose: c.Purpose, Destination: mask(c.Last4), Attempts: c.Attempts,
		MessageID: c.MessageID, CreatedAt: c.CreatedAt.UTC(), EndedAt: c.EndedAt.UTC(), VerifiedAt: c.VerifiedAt.UTC(),
	}
	out.Delivery, out.Reason = delivery(c, now)
	return out
}
