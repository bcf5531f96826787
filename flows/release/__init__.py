"""What analysts see: releases, their audits, views and models."""
