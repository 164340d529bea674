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
	list, err := d.records.deliveries(ctx, req.Portal, req.User, from, before, int64(limit)+1)
	if err != nil {
		return page, err
	}
	if len(list) > limit {
		list = list[:limit]
		page.Next = cursorOf(list[limit-1].Order)
	}
	now := d.now()
	page.Items = make([]contract.DeliveryInfo, 0, len(list))
	for _, c := range list {
		page.Items = append(page.Items, info(c, now))
	}
	return page, nil
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
