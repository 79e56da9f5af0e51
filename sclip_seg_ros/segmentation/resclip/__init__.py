"""ResCLIP (CVPR 2025): residual correlation and semantic feedback, as published and as drawn."""
