"""What happens to spooled mail, and when.

schedule  when to try again, and when to give up
sorting   a claimed message -> what is ours, what is others', what is expanded, what cannot be
progress  one claimed message while its deliveries are under way
notices   what the sender is told (RFC 3464)
queue     the scheduler: claims, hands out, settles, wakes
control   what an administrator asks of it
"""
