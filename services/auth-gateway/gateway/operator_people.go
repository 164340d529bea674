package gateway

import (
	"errors"
	"regexp"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// PersonRecord is a person as a file tells of them: to be moved in, or moved out. Nil and empty fields say nothing.
type PersonRecord struct {
	// ID is the account's id; a new one if empty.
	ID, Email, Name                                     string
	Audience                                            contract.Audience
	Organization                                        string
	MasterAdmin, OrganizationAdmin, Federated, Disabled *bool
	// Provider is one of the portal's; Subject is who the person is there, or Identity is the name that an export gives it.
	Provider, Subject, Identity string
	// Password is a hash in one of the forms that [parseHash] reads.
	Password secret.String
}

var identityShape = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Reasons why a person of a file is refused.
const (
	reasonInvalid  contract.Reason = "invalid"
	reasonNotFor   contract.Reason = "wrong_audience"
	reasonLocal    contract.Reason = "not_federated"
	reasonPassword contract.Reason = "federated_password"
	reasonTaken    contract.Reason = "id_taken"
	reasonIdentity contract.Reason = "identity_taken"
	reasonProvider contract.Reason = "unknown_provider"
	reasonForms    contract.Reason = "hash_forms"
	reasonKind     contract.Reason = "changes_kind"
	reasonSessions contract.Reason = "ends_sessions"
	reasonDeleting contract.Reason = "being_deleted"
)

func badRecord(field string, why contract.Reason, format string, args ...any) *contract.Error {
	e := contract.Refuse(contract.InvalidRequest, format, args...)
	e.Field, e.Reason = field, why
	return e
}

// Checked returns the record as it would be kept, or all that is wrong with it. It asks nobody.
func (r PersonRecord) Checked() (PersonRecord, []*contract.Error) {
	var wrong []*contract.Error
	bad := func(field string, why contract.Reason, format string, args ...any) {
		wrong = append(wrong, badRecord(field, why, format, args...))
	}
	is := func(b *bool) bool { return b != nil && *b }
	if r.ID != "" && !isUserID(r.ID) {
		bad("id", reasonInvalid, "The id is 1 to 64 letters, digits and dashes.")
	}
	u, err := newPerson{
		Email: r.Email, Name: r.Name, Audience: r.Audience, Organization: r.Organization,
		MasterAdmin: is(r.MasterAdmin), OrganizationAdmin: is(r.OrganizationAdmin), Federated: is(r.Federated),
	}.account("p")
	var refusal *contract.Error
	switch {
	case errors.As(err, &refusal):
		why := reasonInvalid
		if refusal.Field == "master_admin" || refusal.Field == "organization_admin" || refusal.Field == "organization" && r.Audience == contract.Internal {
			why = reasonNotFor
		}
		bad(refusal.Field, why, "%s", refusal.Detail)
	case err == nil:
		r.Email, r.Name, r.Organization = u.Email, u.Name, u.Organization
	}
	federated := is(r.Federated)
	switch {
	case !federated && r.Provider+r.Subject+r.Identity != "":
		bad("provider", reasonLocal, "Only a federated person has a provider, a subject and an identity.")
	case r.Subject != "" && r.Identity != "":
		bad("identity", reasonInvalid, "Give the subject or the identity, not both.")
	case r.Subject+r.Identity != "" && !slug.MatchString(r.Provider):
		bad("provider", reasonInvalid, "The provider is the id that it has in this portal, such as microsoft.")
	case r.Provider != "" && r.Subject+r.Identity == "":
		bad("subject", reasonInvalid, "Who the person is at the provider is missing; leave the provider out as well, and they arrive by their address.")
	case r.Identity != "" && !identityShape.MatchString(r.Identity):
		bad("identity", reasonInvalid, "The identity is what an export has: 64 hexadecimal digits.")
	case len(r.Subject) > 255:
		bad("subject", reasonInvalid, "The subject has at most 255 characters.")
	}
	if !r.Password.Empty() {
		if federated {
			bad("password", reasonPassword, "A federated person has no password here.")
		} else if _, refusal := parseHash(r.Password.Reveal()); refusal != nil {
			wrong = append(wrong, refusal)
		}
	}
	return r, wrong
}

// recordOf is an account as an export tells of it.
func recordOf(u user) PersonRecord {
	flag := func(b bool) *bool {
		if !b {
			return nil
		}
		return &b
	}
	out := PersonRecord{
		ID: u.User, Email: u.Email, Name: u.Name, Audience: u.Audience, Organization: u.Organization,
		MasterAdmin: flag(u.MasterAdmin), OrganizationAdmin: flag(u.OrganizationAdmin), Federated: flag(u.Federated), Disabled: flag(u.Disabled),
		Password: secret.New(u.Password),
	}
	if u.Identity != "" {
		out.Provider, out.Identity = u.Provider, u.Identity
	}
	return out
}
