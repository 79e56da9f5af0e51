"""`sclip-check-attention`: which attention rule to take, from one's own labelled pictures."""
