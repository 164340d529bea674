package gateway

import (
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/store"
)

// This file holds the changes that admins make: what is written, and what must still be so.

// withLetter adds a letter to what an update sets.
func withLetter(update bson.D, letter bus.Letter) bson.D {
	out := make(bson.D, 0, len(update)+1)
	set := store.Put(letter)
	for _, e := range update {
		if e.Key == "$set" {
			set = append(slices.Clone(e.Value.(bson.D)), set...) //nolint:forcetypeassert // made here
			continue
		}
		out = append(out, e)
	}
	return append(out, bson.E{Key: "$set", Value: set})
}

// amending makes was into is, unless somebody else changed it meanwhile. With its address an account loses its password
// link, which may have gone to the wrong one.
func amending(was, is user) store.Change {
	update := bson.D{{Key: "$set", Value: append(changed(is), is.indexed()...)}}
	if is.Email != was.Email {
		update = append(update, bson.E{Key: "$unset", Value: bson.D{{Key: "password_link", Value: ""}}})
	}
	return store.Change{Guard: unchanged(was), Update: update}
}

// unchanged guards a change that was worked out from an account as it was read.
func unchanged(u user) bson.D {
	either := func(b bool) any {
		if b {
			return true
		}
		return bson.D{{Key: "$ne", Value: true}}
	}
	guard := bson.D{
		{Key: "email", Value: u.Email},
		{Key: "master_admin", Value: either(u.MasterAdmin)},
		{Key: "organization_admin", Value: either(u.OrganizationAdmin)},
		{Key: "disabled", Value: either(u.Disabled)},
		{Key: "deleted", Value: either(false)},
	}
	if u.Organization != "" {
		guard = append(guard, bson.E{Key: "organization", Value: u.Organization})
	}
	return guard
}

// changed is what an amendment may change, as a part of a $set.
func changed(u user) bson.D {
	set := bson.D{
		{Key: "email", Value: u.Email},
		{Key: "name", Value: u.Name},
		{Key: "master_admin", Value: u.MasterAdmin},
		{Key: "organization_admin", Value: u.OrganizationAdmin},
		{Key: "disabled", Value: u.Disabled},
	}
	if u.Organization != "" {
		set = append(set, bson.E{Key: "organization", Value: u.Organization})
	}
	return set
}

// deleting makes an account into the mark of one that is gone: nobody can sign in with it, and no list shows it.
func deleting(u user) store.Change {
	gone := u
	gone.Deleted = true
	return store.Change{
		Guard: bson.D{{Key: "email", Value: u.Email}},
		Update: bson.D{
			{Key: "$set", Value: append(bson.D{{Key: "deleted", Value: true}, {Key: "disabled", Value: true}}, gone.indexed()...)},
			{Key: "$unset", Value: bson.D{{Key: "password", Value: ""}, {Key: "password_link", Value: ""}, {Key: "master_admin", Value: ""}, {Key: "organization", Value: ""}}},
		},
	}
}

// linking makes a password link the one that works.
func linking(u user, hash linkHash) store.Change {
	return store.Change{
		Guard:  bson.D{{Key: "email", Value: u.Email}},
		Update: bson.D{{Key: "$set", Value: bson.D{{Key: "password_link", Value: hash}}}},
	}
}

// choosing spends a password link for a password.
func choosing(link linkHash, password string, at time.Time) store.Change {
	return store.Change{
		Guard: bson.D{{Key: "password_link.hash", Value: link.Hash}},
		Update: bson.D{
			{Key: "$set", Value: bson.D{{Key: "password", Value: password}, {Key: "password_at", Value: at}}},
			{Key: "$unset", Value: bson.D{{Key: "password_link", Value: ""}, {Key: "hash_form", Value: ""}}},
		},
	}
}

// rehashing replaces an imported hash by one of the same password, unless it is another by now.
func rehashing(u user, password string) store.Change {
	return store.Change{
		Guard: bson.D{{Key: "password", Value: u.Password}, {Key: "hash_form", Value: u.HashForm}},
		Update: bson.D{
			{Key: "$set", Value: bson.D{{Key: "password", Value: password}}},
			{Key: "$unset", Value: bson.D{{Key: "hash_form", Value: ""}}},
		},
	}
}

// rebranding changes how a portal looks.
func rebranding(b branding) store.Change {
	set := bson.D{
		{Key: "name", Value: b.Name},
		{Key: "accent", Value: b.Accent},
		{Key: "support_email", Value: b.SupportEmail},
		{Key: "support_url", Value: b.SupportURL},
		{Key: "help_text", Value: b.HelpText},
		{Key: "request_account_url", Value: b.RequestAccountURL},
		{Key: "reset_login_url", Value: b.ResetLoginURL},
	}
	unset := bson.D{}
	logo := func(field string, p *picture) {
		switch {
		case p == nil:
		case len(p.Data) == 0:
			unset = append(unset, bson.E{Key: field, Value: ""})
		default:
			set = append(set, bson.E{Key: field, Value: *p})
		}
	}
	logo("logo", b.Logo)
	logo("logo_dark", b.LogoDark)
	update := bson.D{{Key: "$set", Value: set}}
	if len(unset) > 0 {
		update = append(update, bson.E{Key: "$unset", Value: unset})
	}
	return store.Change{Update: update}
}
