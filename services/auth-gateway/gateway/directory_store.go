package gateway

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/store"
)

// directoryIndexes are what the ranges need.
func directoryIndexes() []store.Index {
	index := func(name string, fields ...string) store.Index {
		keys := bson.D{{Key: "portal", Value: 1}}
		for _, f := range fields {
			keys = append(keys, bson.E{Key: f, Value: 1})
		}
		return store.Index{Collection: usersCollection, Name: name, Keys: keys}
	}
	organizations := index("by_key", "key")
	organizations.Collection = "organizations"
	return []store.Index{
		index("by_email", "email"),
		index("by_name", "name_key"),
		index("by_surname", "surname_key"),
		index("by_organization", "organization", "email"),
		index("by_population", "population", "email"),
		index("by_enrolment", "population", "mirror.enrolled_in", "email"),
		index("by_skip", "population", "mirror.skipped_in", "mirror.skipped_opt_out", "email"),
		index("by_lock", "mirror.locked", "email"),
		index("by_arrival", "signed_in", "email"),
		index("by_rights", "master_admin", "email"),
		organizations,
	}
}

// indexed is what index fills in, as a part of a $set.
func (u user) indexed() bson.D {
	u.index()
	return bson.D{
		{Key: "population", Value: u.Population}, {Key: "name_key", Value: u.NameKey}, {Key: "surname_key", Value: u.SurnameKey},
	}
}

// filter is a span as the store asks for it.
func (s span) filter() bson.D {
	out := bson.D{}
	for _, e := range s {
		out = append(out, bson.E{Key: e.field, Value: e.value})
	}
	return out
}

// within reads the accounts of a span whose keys lie within bounds, in the order of these keys.
func (a accounts) within(ctx context.Context, s span, b bounds, limit int64) ([]user, error) {
	keys := bson.D{}
	for operator, key := range map[string]string{"$gte": b.from, "$gt": b.after, "$lt": b.below} {
		if key != "" {
			keys = append(keys, bson.E{Key: operator, Value: key})
		}
	}
	filter := s.filter()
	if len(keys) > 0 {
		filter = append(filter, bson.E{Key: b.field, Value: keys})
	}
	return a.users.Query(ctx, filter, bson.D{{Key: b.field, Value: 1}}, limit)
}

// size counts the accounts of a span.
func (a accounts) size(ctx context.Context, s span) (int64, error) {
	return a.users.Count(ctx, s.filter(), 0)
}

// companies reads a portal's organizations whose key begins with a text, behind the last one that was seen.
func (a accounts) companies(ctx context.Context, portalID, begin, after string, limit int64) ([]organization, error) {
	keys := bson.D{{Key: "$lt", Value: begin + "\U0010ffff"}}
	if after < begin || after == "" {
		keys = append(keys, bson.E{Key: "$gte", Value: begin})
	} else {
		keys = append(keys, bson.E{Key: "$gt", Value: after})
	}
	return a.organizations.Query(ctx, bson.D{{Key: "portal", Value: portalID}, {Key: "key", Value: keys}}, bson.D{{Key: "key", Value: 1}}, limit)
}
