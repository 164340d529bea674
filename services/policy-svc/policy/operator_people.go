package policy

import (
	"context"

	"sallyport/pkg/contract"
)

// Standing is [contract.PolicyStanding]: where a person stands, and how that would have to be written beside the account.
func (o *Office) Standing(ctx context.Context, req contract.DecideRequest) (contract.StandingReply, error) {
	return o.policy.standing(ctx, req)
}

// Rules tells which enrolments of a portal count now.
func (o *Office) Rules(ctx context.Context, portal string) (contract.PortalRules, error) {
	r, err := o.policy.rules(ctx, contract.RulesRequest{Portal: portal})
	return r.Now, err
}

// Gone tells whether the account of an id was deleted. Such an id never lives again: what was enrolled under it may be
// left somewhere.
func (o *Office) Gone(ctx context.Context, who contract.Account) (bool, error) {
	doc, err := o.policy.state.standing(ctx, who)
	_, gone := doc.Resets["deleted-"+who.User]
	return gone, err
}

// Import records an enrolment that an operator moves in, unless the person has one that counts, and returns where they
// stand. It is in the audit log when it returns, by the actor and under the id that a confirmation has, once. Nothing is
// told on the bus: the caller writes the standing beside the account, and whatever changes it next is told as ever.
func (o *Office) Import(ctx context.Context, req contract.DecideRequest, c contract.Confirmation, actor, reason string) (contract.StandingReply, error) {
	p := o.policy
	if err := checkActor(actor); err != nil {
		return contract.StandingReply{}, err
	}
	if err := checkEnrolment(contract.RecordRequest{Account: req.Account, FactorInfo: c.FactorInfo, Epoch: c.Epoch}); err != nil {
		return contract.StandingReply{}, err
	}
	now, err := p.standing(ctx, req)
	if err != nil || now.Decision.Standing == contract.Enrolled {
		return now, err
	}
	note := enrolmentNote(contract.AuditEnrolmentConfirmed, contract.EnrolmentFact{Account: req.Account, FactorInfo: c.FactorInfo, Epoch: c.Epoch})
	note.Actor, note.Reason, note.At = actor, reason, p.clock.Now()
	note.Detail["by"] = "import"
	if err := p.note(ctx, contract.ConfirmedID(c.Enrolment), note); err != nil {
		return contract.StandingReply{}, err
	}
	e := Enrolment{ID: c.Enrolment, Label: c.Label, Since: c.Since.UTC(), Epoch: c.Epoch}
	if err := p.state.adopt(ctx, req.Account, c.Factor, e); err != nil {
		return contract.StandingReply{}, err
	}
	now, err = p.standing(ctx, req)
	if err == nil && now.Decision.Standing != contract.Enrolled {
		err = contract.Refuse(contract.Conflict, "The second factor was reset, or switched off and on, meanwhile. Import it again.")
	}
	return now, err
}
