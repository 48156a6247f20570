"""Who is who over time: tracks, steadied keypoints, joints that changed sides."""
