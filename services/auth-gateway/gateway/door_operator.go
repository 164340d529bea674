package gateway

import (
	"context"
	"errors"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
)

// APIKeyInfo is an API key as an operator sees it.
type APIKeyInfo struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	App       string    `json:"app"`
	CreatedAt time.Time `json:"created_at"`
	// UsedAt is when it was last used, at most an hour behind.
	UsedAt    time.Time `json:"used_at,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
}

// CreateAPIKey makes an API key for the portal door, and returns it, this once, with the entry for the audit log. It works
// at once.
func (o *Office) CreateAPIKey(ctx context.Context, portalID, name, app, actor string) (secret.String, contract.AuditRequest, error) {
	name, err := oneLine("name", name)
	if err != nil {
		return secret.String{}, contract.AuditRequest{}, err
	}
	if !slug.MatchString(app) {
		return secret.String{}, contract.AuditRequest{}, invalid("app", "%q: an app is lower-case letters, digits and dashes, at most 32.", app)
	}
	if _, err := o.accounts.portals.Get(ctx, portalID); errors.Is(err, store.ErrNotFound) {
		return secret.String{}, contract.AuditRequest{}, noPortal(portalID)
	} else if err != nil {
		return secret.String{}, contract.AuditRequest{}, err
	}
	id, key, hash := newToken(apiKeyToken)
	letter, entry, err := o.doorLetter(ctx, portalID, actor, "API key made", map[string]string{"api_key": name, "app": app, "id": id})
	if err != nil {
		return secret.String{}, entry, err
	}
	if err := o.outbox.Note(ctx, apiKeysCollection, portalID+"/"+id, letter); err != nil {
		return secret.String{}, entry, err
	}
	return key, entry, apiKeysOf(o.db).Insert(ctx, apiKey{
		ID: portalID + "/" + id, Portal: portalID, Key: id, Name: name, App: app, Hash: hash, CreatedAt: o.now(),
		Outbox: map[string]bus.Letter{letter.ID: letter},
	})
}

// APIKeys lists the API keys of a portal, the oldest first; those that are revoked, too.
func (o *Office) APIKeys(ctx context.Context, portalID string) ([]APIKeyInfo, error) {
	if _, err := o.ReturnURLs(ctx, portalID); err != nil {
		return nil, err
	}
	all, err := apiKeysOf(o.db).of(ctx, portalID)
	out := make([]APIKeyInfo, 0, len(all))
	for _, k := range all {
		out = append(out, APIKeyInfo{ID: k.Key, Name: k.Name, App: k.App, CreatedAt: k.CreatedAt, UsedAt: k.UsedAt, RevokedAt: k.RevokedAt})
	}
	return out, err
}

// RevokeAPIKey kills an API key, and returns the entry for the audit log. It is dead at every gateway at once.
func (o *Office) RevokeAPIKey(ctx context.Context, portalID, id, actor string) (contract.AuditRequest, error) {
	keys := apiKeysOf(o.db)
	none := contract.Refuse(contract.NotFound, "Portal %s has no living API key %s.", portalID, id)
	if !isID(id) {
		return contract.AuditRequest{}, invalid("id", "%q is no id of an API key; sallyport portal key list shows them.", id)
	}
	k, err := keys.Get(ctx, portalID+"/"+id)
	if errors.Is(err, store.ErrNotFound) {
		return contract.AuditRequest{}, none
	}
	if err != nil {
		return contract.AuditRequest{}, err
	}
	letter, entry, err := o.doorLetter(ctx, portalID, actor, "API key revoked", map[string]string{"api_key": k.Name, "app": k.App, "id": id})
	if err == nil {
		err = o.outbox.Note(ctx, apiKeysCollection, k.ID, letter)
	}
	if err == nil {
		err = keys.revoke(ctx, k.ID, o.now(), letter)
	}
	if errors.Is(err, store.ErrNotFound) {
		err = none
	}
	return entry, err
}

// ReturnURLs are where a portal's people may be sent back to.
func (o *Office) ReturnURLs(ctx context.Context, portalID string) ([]string, error) {
	p, err := o.accounts.portals.Get(ctx, portalID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, noPortal(portalID)
	}
	return p.ReturnURLs, err
}

// AddReturnURL registers a URL to which a portal's people may be sent back: exactly this one. It returns the entry for the
// audit log.
func (o *Office) AddReturnURL(ctx context.Context, portalID, raw, actor string) (contract.AuditRequest, error) {
	if err := checkReturnURL(raw); err != nil {
		return contract.AuditRequest{}, err
	}
	known, err := o.ReturnURLs(ctx, portalID)
	if err != nil {
		return contract.AuditRequest{}, err
	}
	const most = 50
	if len(known) >= most {
		return contract.AuditRequest{}, contract.Refuse(contract.Conflict, "Portal %s has %d return URLs already; remove one first.", portalID, most)
	}
	return o.changeURLs(ctx, portalID, raw, actor, "return URL registered", registerURL)
}

// RemoveReturnURL takes a return URL from a portal, and returns the entry for the audit log. Running gateways forget it
// within [portalsEvery].
func (o *Office) RemoveReturnURL(ctx context.Context, portalID, raw, actor string) (contract.AuditRequest, error) {
	return o.changeURLs(ctx, portalID, raw, actor, "return URL removed", dropURL)
}

func (o *Office) changeURLs(ctx context.Context, portalID, raw, actor, reason string, change func(context.Context, *store.DB, string, string, bus.Letter) error) (contract.AuditRequest, error) {
	letter, entry, err := o.doorLetter(ctx, portalID, actor, reason, map[string]string{"url": raw})
	if err == nil {
		err = o.outbox.Note(ctx, portalsCollection, portalID, letter)
	}
	if err == nil {
		err = change(ctx, o.db, portalID, raw, letter)
	}
	if errors.Is(err, store.ErrNotFound) {
		if _, err := o.ReturnURLs(ctx, portalID); err != nil {
			return entry, err
		}
		err = contract.Refuse(contract.NotFound, "Portal %s has no return URL %s.", portalID, raw)
	}
	return entry, err
}

// doorLetter says of the portal door what an operator did to it.
func (o *Office) doorLetter(ctx context.Context, portalID, actor, reason string, detail map[string]string) (bus.Letter, contract.AuditRequest, error) {
	return o.letter(ctx, contract.AuditNote{Portal: portalID, Action: contract.AuditPortalChanged, Actor: actor, Reason: reason, Detail: detail})
}
